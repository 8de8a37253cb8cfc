"""Metrics of samples with any number of labels, with bootstrap intervals; the numbers are scikit-learn's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.curves import MAX_CURVES, Curve, thinned
from pipeline.metrics.resampling.bootstrap import CONFIDENCE, NUM_RESAMPLES
from pipeline.metrics.resampling.estimate import Estimate, estimate, mean_where_defined
from pipeline.metrics.resampling.multi_label import (
    Resamples,
    resampled_metrics,
    resampled_precision,
)
from pipeline.metrics.thresholds import checked

NO_POSITIVE = "no sample of this class"


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Metrics of one class against its absence.

    Attributes:
        support: Samples that have the label.
        threshold: Probability from which on the class is predicted.
        average_precision: Over all thresholds; None without positives.
        precision: At the threshold; None where the class is never predicted.
        recall: At the threshold; None without positives.
        f1: At the threshold; None where the class is neither a label nor predicted.
    """

    support: int
    threshold: float
    average_precision: Estimate
    precision: float | None
    recall: float | None
    f1: float | None

    def to_json(self) -> dict[str, JsonValue]:
        """One object, with the ``interval`` of the average precision."""
        interval = self.average_precision.interval
        return {
            "support": self.support,
            "threshold": self.threshold,
            "average_precision": self.average_precision.value,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "interval": [*interval] if interval else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ClassScores:
        """The other way round."""
        named = {name: values[name] for name in values if name != "interval"}
        ends = values.get("interval")
        interval = (float(ends[0]), float(ends[1])) if ends else None
        return cls(
            **{**named, "average_precision": Estimate(values["average_precision"], interval)}
        )


@dataclass(frozen=True, slots=True)
class MultiLabelMetrics:
    """Metrics of N samples, each with any of K labels.

    Attributes:
        num_samples: N.
        mean_average_precision: Mean over the classes with a positive; ``undefined`` names the others.
        f1_micro: F1 of all N * K decisions together.
        f1_macro: Mean F1 over the classes that occur among labels or predictions.
        subset_accuracy: Share of samples whose labels are all right and complete.
        hamming_loss: Share of the N * K decisions that are wrong.
        per_class: Class name -> its metrics, in the order of the classes.
    """

    num_samples: int
    mean_average_precision: Estimate
    f1_micro: Estimate
    f1_macro: Estimate
    subset_accuracy: Estimate
    hamming_loss: Estimate
    per_class: dict[str, ClassScores]


def multi_label_metrics(
    classes: Sequence[str],
    labels: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    thresholds: Sequence[float],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> MultiLabelMetrics:
    """All metrics of a split, with percentile intervals from resampled samples.

    Args:
        classes: Names of the K classes.
        labels: (N, K) bool.
        probabilities: (N, K) float in 0..1; rows need not add up to one.
        thresholds: (K,) as chosen by :func:`choose_thresholds` on other data.
        seed: Same seed, same intervals.
        num_resamples: Bootstrap resamples.
        confidence: Share of resamples inside an interval.

    Raises:
        ValueError: Shapes that do not fit.
        ModelError: Probabilities outside 0..1 or not finite.
    """
    labels, probabilities = checked(labels, probabilities)
    if not labels.shape[1] == len(classes) == len(thresholds):
        raise ValueError(f"{len(classes)} classes, {len(thresholds)} thresholds, {labels.shape}")
    predicted = probabilities >= np.asarray(thresholds, np.float64)
    resamples = resampled_metrics(
        labels, probabilities, predicted, seed=seed, num_resamples=num_resamples
    )
    per_class = _per_class(
        classes, labels, probabilities, thresholds, resamples, confidence=confidence
    )
    empty = None if len(labels) else "no samples"
    never = empty or (None if (labels | predicted).any() else "no label and no prediction")
    without = [name for name, scores in per_class.items() if not scores.support]
    values = _observed(labels, predicted)
    mean_average_precision = estimate(
        mean_where_defined([scores.average_precision.value for scores in per_class.values()]),
        resamples.mean_average_precision,
        undefined=empty or ("no sample of " + ", ".join(without) if without else None),
        confidence=confidence,
    )

    def at_thresholds(name: str, resampled: NDArray[np.float64], reason: str | None) -> Estimate:
        return estimate(values.get(name), resampled, undefined=reason, confidence=confidence)

    return MultiLabelMetrics(
        num_samples=len(labels),
        mean_average_precision=mean_average_precision,
        f1_micro=at_thresholds("f1_micro", resamples.f1_micro, never),
        f1_macro=at_thresholds("f1_macro", resamples.f1_macro, never),
        subset_accuracy=at_thresholds("subset_accuracy", resamples.subset_accuracy, empty),
        hamming_loss=at_thresholds("hamming_loss", resamples.hamming_loss, empty),
        per_class=per_class,
    )


def mean_average_precision(
    labels: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> float | None:
    """Mean over the classes that a sample has, of labels and probabilities (N, K); None where no sample has one."""
    columns = zip(labels.T, probabilities.T, strict=True)
    return mean_where_defined([_average_precision(*column) for column in columns])


def paired_map_difference(
    labels: NDArray[np.bool_],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The first model's mean average precision minus the second's, with both resampled together.

    Args:
        labels: (N, K) bool.
        first: (N, K) float in 0..1, probabilities of the first model.
        second: (N, K) float in 0..1, the second model's of the same samples.
        seed: Same seed, same interval.
        num_resamples: Bootstrap resamples.
        confidence: Share of resamples inside the interval.

    Raises:
        ValueError: Shapes that do not fit.
        ModelError: Probabilities outside 0..1 or not finite.
    """
    values, resampled = [], []
    for probabilities in (first, second):
        labels, scores = checked(labels, probabilities)
        values.append(mean_average_precision(labels, scores))
        resampled.append(
            resampled_precision(labels, scores, seed=seed, num_resamples=num_resamples)
        )
    if values[0] is None or values[1] is None:
        return Estimate(None, None, "no label")
    return estimate(values[0] - values[1], resampled[0] - resampled[1], confidence=confidence)


def precision_recall(
    classes: Sequence[str], labels: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> dict[str, Curve]:
    """Precision over recall of the most frequent classes that have a sample.

    Args:
        classes: Names of the K classes.
        labels: (N, K) bool.
        probabilities: (N, K) float in 0..1.

    Returns:
        Class -> ``recall``, rising, and ``precision``; few enough points to be written.
    """
    from sklearn.metrics import precision_recall_curve

    support = labels.sum(axis=0)
    frequent = np.argsort(-support, kind="stable")[:MAX_CURVES]
    curves: dict[str, Curve] = {}
    for k in sorted(int(k) for k in frequent if support[k]):
        precision, recall, _ = precision_recall_curve(labels[:, k], probabilities[:, k])
        recall, precision = thinned(recall[::-1], precision[::-1])
        columns = {"recall": recall, "precision": precision}
        curves[classes[k]] = {name: values.round(5).tolist() for name, values in columns.items()}
    return curves


def _observed(labels: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, float]:
    """The metrics at the thresholds that are defined, over all samples."""
    from sklearn import metrics as sk

    if not len(labels):
        return {}
    values = {
        "subset_accuracy": float(sk.accuracy_score(labels, predicted)),
        "hamming_loss": float(sk.hamming_loss(labels, predicted)),
    }
    occurring = np.flatnonzero((labels | predicted).any(axis=0))
    if len(occurring):
        seen = labels[:, occurring], predicted[:, occurring]
        # A matrix of one column would be taken for single labels, whose micro F1 is the accuracy.
        values["f1_micro"] = float(sk.f1_score(seen[0].ravel(), seen[1].ravel()))
        per_class = [sk.f1_score(*pair) for pair in zip(seen[0].T, seen[1].T, strict=True)]
        values["f1_macro"] = float(np.mean(per_class))
    return values


def _per_class(
    classes: Sequence[str],
    labels: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    thresholds: Sequence[float],
    resamples: Resamples,
    *,
    confidence: float,
) -> dict[str, ClassScores]:
    """Class -> its metrics."""
    scores = {}
    for k, name in enumerate(classes):
        positive, predicted = labels[:, k], probabilities[:, k] >= thresholds[k]
        hits, support, number = (
            int(mask.sum()) for mask in (positive & predicted, positive, predicted)
        )
        scores[name] = ClassScores(
            support=support,
            threshold=float(thresholds[k]),
            average_precision=estimate(
                _average_precision(positive, probabilities[:, k]),
                resamples.average_precision[:, k],
                undefined=None if support else NO_POSITIVE,
                confidence=confidence,
            ),
            precision=hits / number if number else None,
            recall=hits / support if support else None,
            f1=2 * hits / (support + number) if support + number else None,
        )
    return scores


def _average_precision(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Average precision of one class; None without a positive."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(positive, scores)) if positive.any() else None
