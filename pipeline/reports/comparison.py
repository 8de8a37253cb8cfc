"""How much each modality gives: the rows of the chart and the table by modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.metrics.record import ComparedScores, EvaluationRecord
from pipeline.reports.section import Measure

JOINT = "joint"
ALONE = "alone"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One model on one subset of the modalities.

    Attributes:
        name: What the reader sees, such as ``image + text``.
        modalities: The modalities it was given.
        kind: ``joint`` for the model of this run with the others masked, ``alone`` for another
            model, trained on these modalities only.
        value: Of the metric that they are compared by.
        low: Lower end of the 95 % interval, None where unknown.
        high: Upper end.
        num_samples: Samples judged, None where unknown.
        difference: The value minus that of all modalities on the same samples, None where unknown.
        difference_interval: Its 95 % interval.
    """

    name: str
    modalities: tuple[str, ...]
    kind: str
    value: float
    low: float | None = None
    high: float | None = None
    num_samples: int | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None

    @property
    def has_interval(self) -> bool:
        """Whether samples were resampled for it, so that chance can be told from more than chance."""
        return self.low is not None or self.difference_interval is not None

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than chance: its interval excludes 0."""
        return self.difference_interval is not None and (
            self.difference_interval[0] > 0 or self.difference_interval[1] < 0
        )


def comparison_rows(evaluation: EvaluationRecord, metric: str) -> list[ComparisonRow]:
    """Rows of an evaluation: large subsets first, a model trained alone beside its masked twin.

    Args:
        evaluation: What was found. Rows without the metric (no sample has the modality) are left out.
        metric: That they are compared by.
    """
    joint = [
        _row(name.replace("+", " + "), name.split("+"), JOINT, scores, value)
        for name, scores in evaluation.subsets.items()
        if (value := scores.metrics.get(metric)) is not None
    ]
    alone = [
        _row(scores.name, scores.modalities, ALONE, scores, value)
        for scores in evaluation.comparison
        if (value := scores.metrics.get(metric)) is not None
    ]
    ordered: list[ComparisonRow] = []
    for row in sorted(joint, key=lambda row: -len(row.modalities)):
        ordered += [row, *(single for single in alone if single.modalities == row.modalities)]
    return ordered + [row for row in alone if row not in ordered]


def best_single(rows: Sequence[ComparisonRow], measure: Measure) -> ComparisonRow | None:
    """The strongest single modality: among models trained alone if there are any, else masked."""
    single = [row for row in rows if len(row.modalities) == 1]
    trained = [row for row in single if row.kind == ALONE]
    best = max if measure.best == "max" else min
    return best(trained or single, key=lambda row: row.value, default=None)


def gain_over(row: ComparisonRow, evaluation: EvaluationRecord, measure: Measure) -> float | None:
    """By how much the whole model is better than a row's, or worse; None where that may be chance.

    It is more than chance where the paired interval of the difference excludes 0; without one, where the intervals of
    both do not meet.
    """
    if row.difference is not None and row.difference_interval is not None:
        return measure.gain(row.difference) if row.is_clear else None
    ends = evaluation.overall.interval_of(measure.name)
    value = evaluation.overall.metrics.get(measure.name)
    if ends is None or value is None or row.low is None or row.high is None:
        return None
    apart = ends[0] > row.high or ends[1] < row.low
    return measure.gain(row.value - value) if apart else None


def _row(
    name: str, modalities: Sequence[str], kind: str, scores: ComparedScores, value: float
) -> ComparisonRow:
    low, high = scores.interval or (None, None)
    return ComparisonRow(
        name=name,
        modalities=tuple(modalities),
        kind=kind,
        value=value,
        low=low,
        high=high,
        num_samples=scores.num_samples,
        difference=scores.difference,
        difference_interval=scores.difference_interval,
    )
