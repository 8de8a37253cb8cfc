"""Probabilities from which on a class is predicted, where a sample may have any number of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities from which on a class is predicted.

    Attributes:
        values: (K,) in 0..1; class k is predicted where its probability is at least ``values[k]``.
        f1: (K,) the F1 that they reach on the data they were chosen on; None without positives.
        by_default: Indices of the classes without positives, whose threshold is the default.
    """

    values: tuple[float, ...]
    f1: tuple[float | None, ...]
    by_default: tuple[int, ...]


def choose_thresholds(
    labels: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    default: float = DEFAULT_THRESHOLD,
) -> Thresholds:
    """For each class the threshold of the best F1; for validation data, never for test data.

    The threshold lies halfway between two neighbouring probabilities, and of equally good ones it is
    the highest.

    Args:
        labels: (N, K) bool.
        probabilities: (N, K) float in 0..1.
        default: Threshold of a class without positives.

    Raises:
        ValueError: Shapes that do not fit.
        ModelError: Probabilities outside 0..1 or not finite.

    Source: Lipton, Elkan, Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1
    Measure". For a class that the model cannot tell, always predicting it has the best F1.
    """
    from sklearn.metrics import precision_recall_curve  # costs seconds, so only where it is used

    labels, probabilities = checked(labels, probabilities)
    values = [default] * labels.shape[1]
    scores: list[float | None] = [None] * labels.shape[1]
    for k in np.flatnonzero(labels.any(axis=0)):
        precision, recall, candidates = precision_recall_curve(labels[:, k], probabilities[:, k])
        precision, recall = precision[:-1], recall[:-1]  # the last point has no threshold
        total = precision + recall
        f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        best = len(f1) - 1 - int(np.argmax(f1[::-1]))
        below = candidates[best - 1] if best else 0.0
        values[k], scores[k] = float((candidates[best] + below) / 2), float(f1[best])
    default_classes = tuple(int(k) for k in np.flatnonzero(~labels.any(axis=0)))
    return Thresholds(tuple(values), tuple(scores), default_classes)


def checked(
    labels: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels and probabilities as (N, K), bool and float64.

    Raises:
        ValueError: Shapes that do not fit.
        ModelError: Probabilities outside 0..1 or not finite.
    """
    labels, probabilities = np.asarray(labels, bool), np.asarray(probabilities, np.float64)
    if labels.ndim != 2 or labels.shape != probabilities.shape:
        raise ValueError(
            f"labels {labels.shape} and probabilities {probabilities.shape} do not fit"
        )
    outside = ~((probabilities >= 0) & (probabilities <= 1))  # NaN too
    if outside.any():
        raise ModelError(
            "the model gave probabilities that are no probabilities",
            where=f"{int(outside.any(axis=1).sum())} of {len(labels)} samples",
            fix="train again with a smaller train.learning_rate",
        )
    return labels, probabilities
