"""Turns a report's data into what the template shows: rows, cards and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.models.record import Score, seen_in_words
from pipeline.reports import comparison, curves, plots
from pipeline.reports.content import AugmentedSample, Example, ReportData
from pipeline.reports.media import clipped, shown_media
from pipeline.reports.section import KeyFigure, Part, Section, Targets
from pipeline.reports.svg import Plot
from pipeline.sample import FILTERS, NOTES, REASONS

MAX_CARDS = 24
MAX_QUARANTINE_ROWS = 12


def key_figures(data: ReportData) -> list[KeyFigure]:
    """The headline's numbers: metrics where evaluated, else the best of the validation split."""
    figures: list[KeyFigure] = []
    section, overall = data.section, (data.evaluation or {}).get("overall", {})
    if section is not None:
        figures += section.figures(data.evaluation) if data.evaluation else []
        best = _best_epoch(section.score, data.history, data.kept)
        if not overall and best is not None:
            figures.append(_validation(section, best, len(data.history)))
    total = sum(int(split.get("num_samples", 0)) for split in data.splits.values())
    if total:
        sizes = {name: int(s.get("num_samples", 0)) for name, s in data.splits.items()}
        note = ", ".join(f"{n:,} {name}".replace(",", "\u202f") for name, n in sizes.items())
        figures.append(KeyFigure("Samples", total, "number", note=note))
    if "seconds" in data.summary:
        figures.append(KeyFigure("Seconds", data.summary["seconds"], "seconds"))
    return figures


def _validation(section: Section, best: Mapping[str, Any], epochs: int) -> KeyFigure:
    name, measure = section.score.name, section.measure
    of_measure = name == measure.name
    return KeyFigure(
        f"Validation {measure.title.lower() if of_measure else name}",
        best[f"val_{name}"],
        measure.kind if of_measure else "number",
        note=f"kept epoch {best.get('epoch', '?')} of {epochs}",
    )


def lede(data: ReportData) -> dict[str, Any] | None:
    """The result in one sentence, and a warning where the model had seen what it is judged on."""
    if data.section is None or data.evaluation is None:
        return None
    part = data.section.lede(data.evaluation)
    seen = data.evaluation.get("seen_in_training")
    return {"part": part, "seen": seen_in_words(seen) if seen else ""} if part else None


def modality_view(data: ReportData) -> dict[str, Any] | None:
    """Chart and table of the objective's metric by modality."""
    if data.section is None or data.evaluation is None:
        return None
    measure = data.section.measure
    rows = comparison.comparison_rows(data.evaluation, measure.name)
    if not rows:
        return None
    return {
        "rows": rows,
        "measure": measure,
        "plot": plots.by_modality(rows, measure, data.section.reference(data.evaluation)),
        "alone": any(row.kind == comparison.ALONE for row in rows),
    }


def split_table(data: ReportData) -> dict[str, Any]:
    """Samples, targets and presence of each modality per split."""
    splits = data.splits
    counted = {name: split["labels"] for name, split in splits.items() if split.get("labels")}
    targets = data.section.targets(counted) if data.section and counted else Targets()
    modalities = list(dict.fromkeys(m for s in splits.values() for m in s.get("modalities", {})))
    rows = []
    for name, split in splits.items():
        size = int(split.get("num_samples", 0))
        counts = split.get("modalities", {})
        present = [
            (counts.get(m, 0), counts.get(m, 0) / size if size else None) for m in modalities
        ]
        rows.append(
            {
                "name": name,
                "size": size,
                "targets": targets.rows.get(name, [None] * len(targets.columns)),
                "present": present,
            }
        )
    return {"modalities": modalities, "rows": rows, "targets": targets}


def quarantine_view(data: ReportData) -> dict[str, Any]:
    """Counts by reason, and the first rows of each reason in turn; what is filtered or noted is not bad."""
    good = {*FILTERS, *NOTES}
    bad = [row for row in data.quarantine if row.get("reason") not in good]
    every = data.quarantine_counts
    if every is None:
        every = Counter(str(row.get("reason", "")) for row in data.quarantine)
    counts = {reason: count for reason, count in every.items() if reason not in good}
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for row in bad:
        by_reason.setdefault(str(row.get("reason", "")), []).append(row)
    limit = max(2, MAX_QUARANTINE_ROWS // max(1, len(by_reason)))
    rows = [row for group in by_reason.values() for row in group[:limit]][:MAX_QUARANTINE_ROWS]
    return {
        "total": sum(counts.values()),
        "counts": [
            {"reason": reason, "meaning": REASONS.get(reason, ""), "count": count}
            for reason, count in sorted(counts.items(), key=lambda item: -item[1])
        ],
        "noted": [
            {"reason": reason, "meaning": NOTES[reason], "count": every[reason]}
            for reason in NOTES
            if every.get(reason)
        ],
        "rows": [
            {
                n: clipped(row.get(n))
                for n in ("shard", "key", "field", "reason", "detail", "setting")
            }
            for row in rows
        ],
    }


def card(example: Example) -> dict[str, Any]:
    """One example with its media as data URIs."""
    ranked = sorted(example.probabilities.items(), key=lambda item: -item[1])
    bars = ranked[:3]
    label = example.label
    if label is not None and label in example.probabilities and label not in dict(bars):
        bars = [*ranked[:2], (label, example.probabilities[label])]
    media = shown_media(example.shown)
    return {
        "example": example,
        "pictures": [item for item in media if item.medium in ("picture", "plot") and item.source],
        "others": [item for item in media if item.medium == "sound" and item.source]
        + [item for item in media if item.medium == "text"],
        "too_large": [item.name for item in media if item.is_too_large],
        "bars": [(name, min(1.0, max(0.0, float(p)))) for name, p in bars],
    }


def augmented(sample: AugmentedSample) -> dict[str, Any]:
    """One sample with the media of its views as data URIs."""
    views = [{"title": view.title, "media": shown_media(view.shown)} for view in sample.views]
    return {"key": sample.key, "shard": sample.shard, "views": views}


def predictions(data: ReportData) -> list[dict[str, Any]]:
    """Cards of predictions, below the headings of their kinds."""
    judged = [example for example in data.examples if example.prediction is not None]
    groups = data.section.groups(judged) if data.section is not None else []
    return [
        {"title": group.title, "cards": [card(example) for example in group.examples[:MAX_CARDS]]}
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


def history_table(history: Sequence[Mapping[str, object]]) -> dict[str, Any]:
    """The rows of the history as a table, at most the last hundred."""
    rows = list(history[-100:])
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in rows]}


def metrics_view(data: ReportData) -> Part | None:
    """Metrics of the evaluated split, as the objective shows them."""
    if data.section is None or not (data.evaluation or {}).get("overall", {}).get("num_samples"):
        return None
    return data.section.metrics(data.evaluation or {}, data.predicted)


def _best_epoch(
    score: Score, history: Sequence[Mapping[str, Any]], kept: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The row of the epoch that was kept; before there is a model, of the one that would be."""
    rows = [row for row in history if isinstance(row.get(f"val_{score.name}"), int | float)]
    if kept:
        rows = [row for row in rows if row.get("epoch") == kept["epoch"]]
    return max(rows, key=score.rank, default=None)
