"""Calibration of a classifier: does it know how often it is right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15
TINY = 1e-30  # below which probabilities have no logarithm of use
LOG_RANGE = float(np.log(20))  # of temperatures


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples whose confidence is above ``low``, and at most ``high``.

    Attributes:
        low: Lower end.
        high: Upper end.
        count: Samples.
        confidence: Their mean confidence; None without samples, as the next.
        accuracy: The share of them that is right.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None

    @property
    def gap(self) -> float:
        """How far confidence and accuracy are apart; 0 without samples."""
        if self.accuracy is None or self.confidence is None:
            return 0.0
        return abs(self.accuracy - self.confidence)


@dataclass(frozen=True)
class Calibration:
    """Calibration errors, None without samples, and the bins of a reliability diagram."""

    expected_calibration_error: float | None = None
    maximum_calibration_error: float | None = None
    brier_score: float | None = None
    bins: tuple[ReliabilityBin, ...] = ()


def calibration(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], num_bins: int = NUM_BINS
) -> Calibration:
    """Calibration errors and the bins of a reliability diagram.

    Args:
        labels: (N,) int64, indices of the right classes.
        probabilities: (N, K) float.
        num_bins: Bins of equal width over confidences 0 to 1.
    """
    if not len(labels):
        return Calibration(bins=reliability_bins(np.zeros(0), np.zeros(0, bool), num_bins))
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = reliability_bins(confidence, correct, num_bins)
    return Calibration(
        expected_calibration_error=expected_calibration_error(confidence, correct, num_bins),
        maximum_calibration_error=float(max(row.gap for row in bins)),
        brier_score=brier_score(labels, probabilities),
        bins=bins,
    )


def expected_calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], num_bins: int = NUM_BINS
) -> float | None:
    """Mean distance between confidence and accuracy, each bin weighted by its samples.

    Args:
        confidence: (N,) float in 0..1, the probability of the predicted class.
        correct: (N,) bool.
        num_bins: Bins of equal width.

    Returns:
        The error in 0..1, or None without samples.

    Source: Naeini, Cooper, Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning"; Guo, Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural
    Networks", equation 3.
    """
    if not len(confidence):
        return None
    bins = reliability_bins(confidence, correct, num_bins)
    total = sum(row.count * row.gap for row in bins)
    return float(total / len(confidence))


def reliability_bins(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], num_bins: int = NUM_BINS
) -> tuple[ReliabilityBin, ...]:
    """Samples sorted into bins (low, high] of their confidence.

    Args:
        confidence: (N,) float in 0..1.
        correct: (N,) bool.
        num_bins: Bins of equal width; a confidence of exactly 0 goes to the first.

    Source: Guo et al. 2017, equations 1 and 2.
    """
    edges = np.linspace(0, 1, num_bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    counts = np.bincount(index, minlength=num_bins)
    sure = np.bincount(index, weights=confidence, minlength=num_bins)
    right = np.bincount(index, weights=correct, minlength=num_bins)
    return tuple(
        ReliabilityBin(
            low=round(float(edges[i]), 6),
            high=round(float(edges[i + 1]), 6),
            count=int(counts[i]),
            confidence=float(sure[i] / counts[i]) if counts[i] else None,
            accuracy=float(right[i] / counts[i]) if counts[i] else None,
        )
        for i in range(num_bins)
    )


def brier_score(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float | None:
    """Mean over samples of the squared distance between probabilities and one-hot label (0..2).

    Args:
        labels: (N,) int64.
        probabilities: (N, K) float.

    Source: Brier 1950, "Verification of Forecasts Expressed in Terms of Probability", equation 2.
    """
    if not len(labels):
        return None
    target = np.zeros_like(probabilities)
    target[np.arange(len(labels)), labels] = 1
    return float(((probabilities - target) ** 2).sum(axis=1).mean())


def at_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Probabilities whose logits are divided by a temperature; the order of the classes stays.

    Args:
        probabilities: (N, K) float.
        temperature: Above 1 they are less sure, below 1 more; 1 / T takes back what T did.

    Source: Guo et al. 2017, equation 9.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), TINY)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    scaled = np.exp(logits)
    result: NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
    return result


def choose_temperature(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating]
) -> float | None:
    """The temperature with the lowest log loss on some samples, which were not trained on.

    Labels are taken to be wrong once in N + 2 samples: were few samples all right, the best temperature would be 0, and
    the model sure of everything.

    Args:
        labels: (N,) int64.
        probabilities: (N, K) float.

    Returns:
        Between 0.05 and 20; None without samples.

    Source: Guo et al. 2017, section 4.2; the labels as Platt 1999, "Probabilistic Outputs for Support Vector Machines",
    section 2.2, has them of two classes.
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        return None
    wrong = 1 / (len(labels) + 2)
    targets = np.full(probabilities.shape, wrong / probabilities.shape[1])
    targets[np.arange(len(labels)), labels] += 1 - wrong
    logits = np.log(np.maximum(probabilities.astype(np.float64), TINY))

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        highest = scaled.max(axis=1, keepdims=True)
        total = np.log(np.exp(scaled - highest).sum(axis=1)) + highest[:, 0]
        return float((total - (targets * scaled).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=(-LOG_RANGE, LOG_RANGE), method="bounded")
    return float(np.exp(found.x))
