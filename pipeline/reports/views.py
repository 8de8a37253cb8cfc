"""Turns a report's data into what the template shows: rows, cards and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.models.record import seen_in_words
from pipeline.reports import comparison, curves, plots
from pipeline.reports.cleaning import imbalance
from pipeline.reports.content import AugmentedSample, Example, ReportData
from pipeline.reports.media import clipped, shown_media
from pipeline.reports.svg import Plot, text_columns
from pipeline.sample import FILTERS, NOTES, REASONS

MAX_CARDS = 24
MAX_QUARANTINE_ROWS = 12
MAX_CONFUSION = 30
MAX_MISTAKES = 8
MAX_CLASSES = 100


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number of the headline: its kind is ``percent``, ``number`` or ``seconds``."""

    title: str
    value: Any
    kind: str
    ends: Sequence[float] | None = None
    note: str = ""


def key_figures(data: ReportData) -> list[KeyFigure]:
    """The headline's numbers: metrics where evaluated, else the best validation accuracy."""
    figures: list[KeyFigure] = []
    overall = (data.evaluation or {}).get("overall", {})
    intervals = overall.get("intervals", {})
    for name, title, kind in (
        ("accuracy", "Accuracy", "percent"),
        ("f1_macro", "Macro F1", "number"),
        ("roc_auc", "ROC AUC", "number"),
    ):
        if overall.get(name) is not None:
            figures.append(KeyFigure(title, overall[name], kind, ends=intervals.get(name)))
    best = _best_epoch(data.history, data.kept)
    if not overall and best is not None:
        note = f"kept epoch {best.get('epoch', '?')} of {len(data.history)}"
        figures.append(KeyFigure("Validation accuracy", best["val_accuracy"], "percent", note=note))
    total = sum(int(split.get("num_samples", 0)) for split in data.splits.values())
    if total:
        sizes = {name: int(s.get("num_samples", 0)) for name, s in data.splits.items()}
        note = ", ".join(f"{n:,} {name}".replace(",", "\u202f") for name, n in sizes.items())
        figures.append(KeyFigure("Samples", total, "number", note=note))
    if "seconds" in data.summary:
        figures.append(KeyFigure("Seconds", data.summary["seconds"], "seconds"))
    return figures


def lede(evaluation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The result in one sentence: the accuracy, and what fusion clearly gains over the best modality."""
    overall = (evaluation or {}).get("overall", {})
    if evaluation is None or overall.get("accuracy") is None:
        return None
    rows = comparison.comparison_rows(evaluation)
    single = comparison.best_single(rows) if len(rows) > 1 else None
    return {
        "accuracy": overall["accuracy"],
        "num_samples": overall["num_samples"],
        "split": evaluation.get("split", "test"),
        "ends": overall.get("intervals", {}).get("accuracy"),
        "single": single,
        "gain": comparison.gain_over(single, evaluation) if single is not None else None,
        "seen": seen_in_words(seen) if (seen := evaluation.get("seen_in_training")) else "",
    }


def modality_view(evaluation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Chart and table of accuracy by modality."""
    rows = comparison.comparison_rows(evaluation) if evaluation else []
    if evaluation is None or not rows:
        return None
    plot = plots.accuracy_by_modality(rows, comparison.majority_rate(evaluation))
    return {"rows": rows, "plot": plot, "alone": any(r.kind == comparison.ALONE for r in rows)}


def split_table(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Samples, labels and presence of each modality per split."""
    modalities = list(dict.fromkeys(m for s in splits.values() for m in s.get("modalities", {})))
    rows = []
    for name, split in splits.items():
        size = int(split.get("num_samples", 0))
        counts = split.get("modalities", {})
        present = [
            (counts.get(m, 0), counts.get(m, 0) / size if size else None) for m in modalities
        ]
        labels = split.get("labels", {})
        rows.append(
            {
                "name": name,
                "size": size,
                "labels": len(labels),
                "imbalance": imbalance(labels),
                "present": present,
            }
        )
    return {"modalities": modalities, "rows": rows}


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
        "pictures": [each for each in media if each.medium in ("picture", "plot") and each.source],
        "others": [each for each in media if each.medium == "sound" and each.source]
        + [each for each in media if each.medium == "text"],
        "too_large": [each.name for each in media if each.is_too_large],
        "bars": [(name, min(1.0, max(0.0, float(p)))) for name, p in bars],
    }


def augmented(sample: AugmentedSample) -> dict[str, Any]:
    """One sample with the media of its views as data URIs."""
    views = [{"title": view.title, "media": shown_media(view.shown)} for view in sample.views]
    return {"key": sample.key, "shard": sample.shard, "views": views}


def predictions(examples: Sequence[Example]) -> dict[str, list[dict[str, Any]]]:
    """Cards of wrong examples, the surest mistakes first, and of right ones."""
    judged = [e for e in examples if e.prediction is not None and e.label is not None]
    wrong = sorted((e for e in judged if e.prediction != e.label), key=lambda e: -(e.score or 0))
    right = [e for e in judged if e.prediction == e.label]
    unlabelled = [e for e in examples if e.prediction is not None and e.label is None]
    return {
        "wrong": [card(e) for e in wrong[:MAX_CARDS]],
        "right": [card(e) for e in right[:MAX_CARDS]],
        "unlabelled": [card(e) for e in unlabelled[:MAX_CARDS]],
    }


def training(
    history: Sequence[Mapping[str, Any]], kept: Mapping[str, Any] | None = None
) -> list[Plot]:
    """Training curves, with the epoch that was kept."""
    return curves.training_curves(history, kept["epoch"] if kept else None) if history else []


def history_table(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows of the history as a table, at most the last hundred."""
    rows = list(history[-100:])
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in rows]}


def metrics_view(evaluation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Metrics of the evaluated split: overall, per class, curves, confusion and calibration."""
    overall = (evaluation or {}).get("overall", {})
    if not overall.get("num_samples"):
        return None
    per_class = overall.get("per_class", {})
    calibration = overall.get("calibration", {})
    drawn = [
        curves.class_curves(overall.get("roc", {}), per_class, "roc"),
        curves.class_curves(overall.get("pr", {}), per_class, "pr"),
        plots.reliability(calibration),
    ]
    titles = {
        "balanced_accuracy": "Balanced accuracy",
        "precision_macro": "Macro precision",
        "recall_macro": "Macro recall",
        "average_precision": "Average precision",
        "log_loss": "Log loss",
        "top_3_accuracy": "Top-3 accuracy",
        "top_5_accuracy": "Top-5 accuracy",
    }
    numbers = [(title, overall[name]) for name, title in titles.items() if name in overall]
    for name, title in (
        ("expected_calibration_error", "Calibration error"),
        ("brier_score", "Brier score"),
    ):
        if name in calibration:
            numbers.append((title, calibration[name]))
    return {
        "numbers": numbers,
        "per_class": list(per_class.items())[:MAX_CLASSES],
        "num_classes": len(per_class),
        "plots": [plot for plot in drawn if plot],
        **_confusion(list(per_class), overall.get("confusion", [])),
    }


def _confusion(classes: list[str], counts: list[list[int]]) -> dict[str, Any]:
    """The matrix as rows of (count, share of the row), and the most frequent mistakes."""
    rows = []
    mistakes = []
    for i, row in enumerate(counts):
        total = sum(row)
        rows.append((classes[i], total, [(n, n / total if total else 0.0) for n in row]))
        mistakes += [
            (n, n / total, classes[i], classes[j]) for j, n in enumerate(row) if n and i != j
        ]
    mistakes.sort(key=lambda found: -found[0])
    return {
        "confusion": rows if len(classes) <= MAX_CONFUSION else [],
        "tall": any(text_columns(name) > 4 for name in classes),
        "mistakes": mistakes[:MAX_MISTAKES],
    }


def _best_epoch(
    history: Sequence[Mapping[str, Any]], kept: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The row of the epoch that was kept; before there is a model, of the one that would be."""
    rows = [row for row in history if isinstance(row.get("val_accuracy"), int | float)]
    if kept:
        rows = [row for row in rows if row.get("epoch") == kept["epoch"]]
    return max(rows, key=lambda row: row["val_accuracy"], default=None)
