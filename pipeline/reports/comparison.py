"""How much each modality gives: the rows of the accuracy-by-modality chart and table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

JOINT = "joint"
ALONE = "alone"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """Accuracy of one model on one subset of the modalities.

    Attributes:
        name: What the reader sees, such as ``image + text``.
        modalities: The modalities it was given.
        kind: ``joint`` for the model of this run with the others masked, ``alone`` for another
            model, trained on these modalities only.
        accuracy: 0..1.
        low: Lower end of the 95 % interval, None where unknown.
        high: Upper end.
        num_samples: Samples judged, None where unknown.
        f1_macro: Macro F1, None where unknown.
        difference: Accuracy minus that of all modalities on the same samples, None where unknown.
        difference_interval: Its 95 % interval.
    """

    name: str
    modalities: tuple[str, ...]
    kind: str
    accuracy: float
    low: float | None = None
    high: float | None = None
    num_samples: int | None = None
    f1_macro: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than chance: its interval excludes 0."""
        return self.difference_interval is not None and (
            self.difference_interval[0] > 0 or self.difference_interval[1] < 0
        )


def comparison_rows(evaluation: Mapping[str, Any]) -> list[ComparisonRow]:
    """Rows of an evaluation: large subsets first, a model trained alone beside its masked twin.

    Args:
        evaluation: The content of ``evaluation/metrics.json``. Rows without an accuracy (no
            sample has the modality) are left out.
    """
    joint = [
        _row(name.replace("+", " + "), name.split("+"), JOINT, entry)
        for name, entry in evaluation.get("subsets", {}).items()
        if entry.get("accuracy") is not None
    ]
    alone = [
        _row(entry["name"], entry.get("modalities", ()), ALONE, entry)
        for entry in evaluation.get("comparison", ())
        if entry.get("accuracy") is not None
    ]
    ordered: list[ComparisonRow] = []
    for row in sorted(joint, key=lambda row: -len(row.modalities)):
        ordered += [row, *(single for single in alone if single.modalities == row.modalities)]
    return ordered + [row for row in alone if row not in ordered]


def best_single(rows: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The strongest single modality: among models trained alone if there are any, else masked."""
    single = [row for row in rows if len(row.modalities) == 1]
    trained = [row for row in single if row.kind == ALONE]
    return max(trained or single, key=lambda row: row.accuracy, default=None)


def gain_over(row: ComparisonRow, evaluation: Mapping[str, Any]) -> float | None:
    """By how much the whole model is better than a row's, or worse; None where that may be chance.

    It is more than chance where the paired interval of the difference excludes 0; without one, where the intervals of
    both accuracies do not meet.
    """
    if row.difference is not None and row.difference_interval is not None:
        return -row.difference if row.is_clear else None
    overall = evaluation.get("overall", {})
    ends = overall.get("intervals", {}).get("accuracy")
    if ends is None or row.low is None or row.high is None:
        return None
    apart = ends[0] > row.high or ends[1] < row.low
    return float(overall["accuracy"]) - row.accuracy if apart else None


def majority_rate(evaluation: Mapping[str, Any]) -> float | None:
    """Accuracy of always saying the most frequent class, from the supports; None without samples."""
    overall = evaluation.get("overall", {})
    supports = [row["support"] for row in overall.get("per_class", {}).values()]
    return max(supports) / sum(supports) if sum(supports) else None


def _row(
    name: str, modalities: Sequence[str], kind: str, entry: Mapping[str, Any]
) -> ComparisonRow:
    interval = entry.get("interval") or (None, None)
    difference_interval = entry.get("difference_interval")
    return ComparisonRow(
        name=name,
        modalities=tuple(modalities),
        kind=kind,
        accuracy=float(entry["accuracy"]),
        low=interval[0],
        high=interval[1],
        num_samples=entry.get("num_samples"),
        f1_macro=entry.get("f1_macro"),
        difference=entry.get("difference"),
        difference_interval=tuple(difference_interval) if difference_interval else None,
    )
