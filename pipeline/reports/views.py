"""Turns a report's data into what the template shows: rows, cards and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from pipeline.models.record import Kept, Score, seen_in_words
from pipeline.reports import comparison, curves, plots
from pipeline.reports.content import AugmentedSample, Example, QuarantineRow, ReportData
from pipeline.reports.media import Media, clipped, shown_media
from pipeline.reports.section import (
    KeyFigure,
    Measure,
    Part,
    Section,
    Targets,
    in_sentence,
    titles_of,
)
from pipeline.reports.svg import Plot
from pipeline.sample import FILTERS, NOTES, REASONS

MAX_CARDS = 24
MAX_QUARANTINE_ROWS = 12


@dataclass(frozen=True)
class Lede:
    """The result in one sentence, and a warning where the model had seen what it is judged on."""

    part: Part
    seen: str


@dataclass(frozen=True)
class ModalityView:
    """Chart and table of a metric by modality; ``alone`` where other models are among the rows."""

    rows: Sequence[comparison.ComparisonRow]
    measure: Measure
    plot: Plot | None
    alone: bool


@dataclass(frozen=True)
class SplitRow:
    """A split: samples, a number a column of the targets, and (samples, share) of each modality."""

    name: str
    size: int
    targets: Sequence[float | int | None]
    present: Sequence[tuple[int, float | None]]


@dataclass(frozen=True)
class SplitTable:
    """The splits, with the names of the modalities' columns."""

    modalities: Sequence[str]
    rows: Sequence[SplitRow]
    targets: Targets


@dataclass(frozen=True)
class ReasonCount:
    """How many rows have a reason."""

    reason: str
    meaning: str
    count: int


@dataclass(frozen=True)
class QuarantineView:
    """What is in quarantine: all of it, by reason, what is only noted, and some rows."""

    total: int
    counts: Sequence[ReasonCount]
    noted: Sequence[ReasonCount]
    rows: Sequence[QuarantineRow]


@dataclass(frozen=True)
class Card:
    """One example with its media as data URIs; ``bars`` are classes and probabilities."""

    example: Example
    pictures: Sequence[Media]
    others: Sequence[Media]
    too_large: Sequence[str]
    bars: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class CardGroup:
    """Cards below a heading."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class ViewMedia:
    """A sample as one epoch sees it."""

    title: str
    media: Sequence[Media]


@dataclass(frozen=True)
class AugmentedCard:
    """One sample with the media of its views as data URIs."""

    key: str
    shard: str
    views: Sequence[ViewMedia]


@dataclass(frozen=True)
class HistoryTable:
    """The rows of the history, with the names of their columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def key_figures(data: ReportData) -> list[KeyFigure]:
    """The headline's numbers: metrics where evaluated, else the best of the validation split."""
    figures: list[KeyFigure] = []
    section = data.section
    if section is not None and data.evaluation is not None:
        figures += section.figures(data.evaluation)
    elif section is not None:
        best = _best_epoch(section.score, data.history, data.kept)
        if best is not None:
            figures.append(_validation(section, best, len(data.history)))
    sizes = {name: split.num_samples for name, split in data.splits.items()}
    total = sum(sizes.values())
    if total:
        note = ", ".join(f"{n:,} {name}".replace(",", "\u202f") for name, n in sizes.items())
        figures.append(KeyFigure("Samples", total, "number", note=note))
    if "seconds" in data.summary:
        figures.append(KeyFigure("Seconds", data.summary["seconds"], "seconds"))
    return figures


def _validation(section: Section, best: Mapping[str, float], epochs: int) -> KeyFigure:
    name, measure = section.score.name, section.measure
    return KeyFigure(
        f"Validation {in_sentence(titles_of(section).get(name, name))}",
        best[f"val_{name}"],
        measure.kind if name == measure.name else "number",
        note=f"kept epoch {best.get('epoch', '?')} of {epochs}",
    )


def lede(data: ReportData) -> Lede | None:
    """The result in one sentence, and a warning where the model had seen what it is judged on."""
    if data.section is None or data.evaluation is None:
        return None
    part = data.section.lede(data.evaluation)
    seen = data.evaluation.seen_in_training
    return Lede(part, seen_in_words(seen) if seen else "") if part else None


def modality_view(data: ReportData) -> ModalityView | None:
    """Chart and table of the objective's metric by modality."""
    if data.section is None or data.evaluation is None:
        return None
    measure = data.section.measure
    rows = comparison.comparison_rows(data.evaluation, measure.name)
    if not rows:
        return None
    return ModalityView(
        rows,
        measure,
        plots.by_modality(rows, measure, data.section.reference(data.evaluation)),
        alone=any(row.kind == comparison.ALONE for row in rows),
    )


def split_table(data: ReportData) -> SplitTable:
    """Samples, targets and presence of each modality per split."""
    counted = {name: split.labels for name, split in data.splits.items() if split.labels}
    targets = data.section.targets(counted) if data.section and counted else Targets()
    modalities = list(dict.fromkeys(m for split in data.splits.values() for m in split.modalities))
    rows = []
    for name, split in data.splits.items():
        size = split.num_samples
        counts = [split.modalities.get(modality, 0) for modality in modalities]
        present = [(count, count / size if size else None) for count in counts]
        numbers = targets.rows.get(name, [None] * len(targets.columns))
        rows.append(SplitRow(name, size, numbers, present))
    return SplitTable(modalities, rows, targets)


def quarantine_view(data: ReportData) -> QuarantineView:
    """Counts by reason, and the first rows of each reason in turn; what is filtered or noted is not bad."""
    good = {*FILTERS, *NOTES}
    bad = [row for row in data.quarantine if row.reason not in good]
    every = data.quarantine_counts
    if every is None:
        every = Counter(row.reason for row in data.quarantine)
    counts = {reason: count for reason, count in every.items() if reason not in good}
    by_reason: dict[str, list[QuarantineRow]] = {}
    for row in bad:
        by_reason.setdefault(row.reason, []).append(row)
    limit = max(2, MAX_QUARANTINE_ROWS // max(1, len(by_reason)))
    rows = [row for group in by_reason.values() for row in group[:limit]][:MAX_QUARANTINE_ROWS]
    return QuarantineView(
        total=sum(counts.values()),
        counts=[
            ReasonCount(reason, REASONS.get(reason, ""), count)
            for reason, count in sorted(counts.items(), key=lambda item: -item[1])
        ],
        noted=[
            ReasonCount(reason, meaning, every[reason])
            for reason, meaning in NOTES.items()
            if every.get(reason)
        ],
        rows=[_clipped(row) for row in rows],
    )


def _clipped(row: QuarantineRow) -> QuarantineRow:
    members = {member.name: clipped(getattr(row, member.name)) for member in fields(row)}
    return QuarantineRow(**members)


def card(example: Example) -> Card:
    """One example with its media as data URIs."""
    ranked = sorted(example.probabilities.items(), key=lambda item: -item[1])
    bars = ranked[:3]
    label = example.label
    if label is not None and label in example.probabilities and label not in dict(bars):
        bars = [*ranked[:2], (label, example.probabilities[label])]
    media = shown_media(example.shown)
    return Card(
        example,
        pictures=[item for item in media if item.medium in ("picture", "plot") and item.source],
        others=[item for item in media if item.medium in ("sound", "film") and item.source]
        + [item for item in media if item.medium == "text"],
        too_large=list(dict.fromkeys(item.name for item in media if item.is_too_large)),
        bars=[(name, min(1.0, max(0.0, float(p)))) for name, p in bars],
    )


def augmented(sample: AugmentedSample) -> AugmentedCard:
    """One sample with the media of its views as data URIs."""
    views = [ViewMedia(view.title, shown_media(view.shown)) for view in sample.views]
    return AugmentedCard(sample.key, sample.shard, views)


def predictions(data: ReportData) -> list[CardGroup]:
    """Cards of predictions, below the headings of their kinds."""
    judged = [example for example in data.examples if example.prediction is not None]
    groups = data.section.groups(judged) if data.section is not None else []
    return [
        CardGroup(group.title, [card(example) for example in group.examples[:MAX_CARDS]])
        for group in groups
        if group.examples
    ]


def training(data: ReportData) -> list[Plot]:
    """Training curves, with the epoch that was kept."""
    if not data.history:
        return []
    section = data.section
    shares = [section.measure.title] if section is not None and section.measure.percent else []
    metrics = section.curves if section is not None else {}
    return curves.training_curves(
        data.history, data.kept["epoch"] if data.kept else None, metrics, shares
    )


def history_table(history: Sequence[Mapping[str, object]]) -> HistoryTable:
    """The rows of the history as a table, at most the last hundred."""
    rows = list(history[-100:])
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return HistoryTable(columns, [[row.get(name) for name in columns] for row in rows])


def metrics_view(data: ReportData) -> Part | None:
    """Metrics of the evaluated split, as the objective shows them."""
    if data.section is None or data.evaluation is None or not data.evaluation.overall.num_samples:
        return None
    return data.section.metrics(data.evaluation, data.predicted)


def _best_epoch(
    score: Score, history: Sequence[Mapping[str, float]], kept: Kept | None
) -> Mapping[str, float] | None:
    """The row of the epoch that was kept; before there is a model, of the one that would be."""
    rows = [row for row in history if isinstance(row.get(f"val_{score.name}"), int | float)]
    if kept:
        rows = [row for row in rows if row.get("epoch") == kept["epoch"]]
    return max(rows, key=score.rank, default=None)
