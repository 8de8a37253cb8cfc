"""What was left out though nothing was wrong with it: a line for every filter and every search for copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.cleaning.report import CleaningReport, CopyExample
from pipeline.reports.content import ReportData
from pipeline.sample import FILTERS

MAX_EXAMPLES = 15
# Limit -> the reason that it gives; two limits may give one.
REASONS: Mapping[str, str] = {
    "image.min_side": "filtered_size",
    "image.max_aspect": "filtered_aspect",
    "image.min_contrast": "filtered_blank",
    "audio.min_seconds": "filtered_duration",
    "audio.max_seconds": "filtered_duration",
    "audio.max_silence_fraction": "filtered_silence",
    "audio.max_clipped_fraction": "filtered_clipping",
    "text.min_characters": "filtered_length",
    "text.max_characters": "filtered_length",
    "text.max_repetition": "filtered_repetition",
    "text.scripts": "filtered_script",
}


@dataclass(frozen=True)
class FilterLine:
    """What the filters of a reason left out; ``limits`` are those that are set, in words."""

    reason: str
    meaning: str
    limits: str
    count: int


@dataclass(frozen=True)
class SearchLine:
    """What a job found in a split for a reason; ``left_out`` unless it was only counted."""

    job: str
    split: str
    samples: int
    reason: str
    meaning: str
    count: int
    left_out: bool


@dataclass(frozen=True)
class CleaningView:
    """Lines of the filters and of the searches, parts that were not compared, and some copies."""

    filters: Sequence[FilterLine]
    searches: Sequence[SearchLine]
    unread: int
    examples: Sequence[CopyExample]


def cleaning_view(data: ReportData) -> CleaningView | None:
    """What the section shows; None where nothing was asked for."""
    counts = filtered_counts(data)
    filters = list(_filters(data, counts))
    searches = [line for search in data.cleaning for line in _searches(search)]
    if not filters and not searches:
        return None
    examples = dict.fromkeys(example for search in data.cleaning for example in search.examples)
    return CleaningView(
        filters,
        searches,
        unread=sum(search.parts_not_compared for search in data.cleaning),
        examples=list(examples)[:MAX_EXAMPLES],
    )


def filtered_counts(data: ReportData) -> Counter[str]:
    """Reason -> samples that were left out for it."""
    if data.quarantine_counts is not None:
        counts = Counter(dict(data.quarantine_counts))
    else:
        counts = Counter(row.reason for row in data.quarantine)
    return Counter({reason: count for reason, count in counts.items() if reason in FILTERS})


def _filters(data: ReportData, counts: Counter[str]) -> Iterator[FilterLine]:
    """A line for each reason that a limit may give, and for those that rows have though no limit is set any more."""
    limits: dict[str, list[str]] = {}
    for limit, value in data.filters.items():
        limits.setdefault(REASONS[limit], []).append(f"{limit.rpartition('.')[2]} {value}")
    unlimited = [reason for reason in counts if reason in REASONS.values() and reason not in limits]
    for reason in [*limits, *unlimited]:
        words = ", ".join(limits.get(reason, []))
        yield FilterLine(reason, FILTERS[reason], words, counts[reason])


def _searches(search: CleaningReport) -> Iterator[SearchLine]:
    """A line for each reason that was looked for in a split of a job."""
    for split, copies in search.splits.items():
        for reason, count in copies.found.items():
            yield SearchLine(
                job=search.job,
                split=split,
                samples=copies.samples,
                reason=reason,
                meaning=FILTERS[reason],
                count=count,
                left_out=reason != "filtered_leak" or search.settings["leakage"] != "report",
            )
