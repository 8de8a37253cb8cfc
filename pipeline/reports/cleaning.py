"""What was left out though nothing was wrong with it: a line for every filter and every search for copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

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


def cleaning_view(data: ReportData) -> dict[str, Any] | None:
    """Lines of the filters and of the searches, and examples; None where nothing was asked for."""
    counts = filtered_counts(data)
    filters = list(_filters(data, counts))
    searches = [line for search in data.cleaning for line in _searches(search)]
    if not filters and not searches:
        return None
    examples = [example for search in data.cleaning for example in search["examples"]]
    return {
        "filters": filters,
        "searches": searches,
        "unread": sum(search["parts_not_compared"] for search in data.cleaning),
        "examples": list({tuple(example.values()): example for example in examples}.values())[
            :MAX_EXAMPLES
        ],
    }


def filtered_counts(data: ReportData) -> Counter[str]:
    """Reason -> samples that were left out for it."""
    if data.quarantine_counts is not None:
        counts = Counter(dict(data.quarantine_counts))
    else:
        counts = Counter(str(row.get("reason", "")) for row in data.quarantine)
    return Counter({reason: count for reason, count in counts.items() if reason in FILTERS})


def _filters(data: ReportData, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """A line for each reason that a limit may give, and for those that rows have though no limit is set any more."""
    limits: dict[str, list[str]] = {}
    for limit, value in data.filters.items():
        limits.setdefault(REASONS[limit], []).append(f"{limit.rpartition('.')[2]} {value}")
    unlimited = [reason for reason in counts if reason in REASONS.values() and reason not in limits]
    for reason in [*limits, *unlimited]:
        yield {
            "reason": reason,
            "meaning": FILTERS[reason],
            "limits": ", ".join(limits.get(reason, [])),
            "count": counts[reason],
        }


def _searches(search: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for each reason that was looked for in a split of a job."""
    for split, outcome in search["splits"].items():
        for reason, count in outcome["found"].items():
            reported = reason == "filtered_leak" and search["settings"]["leakage"] == "report"
            yield {
                "job": search["job"],
                "split": split,
                "samples": outcome["samples"],
                "reason": reason,
                "meaning": FILTERS[reason],
                "count": count,
                "left_out": not reported,
            }
