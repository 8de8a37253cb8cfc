"""The area under the ROC curve, sample by sample: its interval without ranking any resample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import bootstrap_interval


def roc_auc_interval(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    *,
    seed: int,
    num_resamples: int,
) -> tuple[float, float] | None:
    """95 % interval of the mean area under the ROC curve, one-vs-rest, over the classes that have one.

    Resamples the samples' influences rather than their ranking: time grows as N log N, not with N times the resamples.

    Args:
        labels: (N,) int64.
        probabilities: (N, K) float64.
        seed: Same seed, same interval.
        num_resamples: Bootstrap resamples; 0: none.

    Returns:
        Lower and upper end, within 0..1; None where the area is undefined, or without resamples.
    """
    ranked = [
        auc_values(labels == k, probabilities[:, k])
        for k in range(probabilities.shape[1])
        if 0 < (labels == k).sum() < len(labels)
    ]
    if not ranked:
        return None
    mean = np.mean(ranked, axis=0)
    ends = bootstrap_interval(mean, seed=seed, num_resamples=num_resamples)
    return None if ends is None else (max(0.0, ends[0]), min(1.0, ends[1]))


def auc_values(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """A value for each sample: their mean is the area under the ROC curve, their deviation that of its influence.

    Args:
        positive: (N,) bool; some are, and some are not.
        scores: (N,) float64; pairs of equal ones count half.

    Returns:
        (N,) float64: the area, plus how far the sample moves it.

    Source:
        DeLong, DeLong & Clarke-Pearson 1988, "Comparing the areas under two or more correlated ROC curves", equations 4
        and 5 (structural components); resampled as Efron & Tibshirani 1993, chapter 22, resample influences.
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    # Of a positive, the share of the negatives that it is above; of a negative, of the positives that are above it.
    of_positive = _share_below(below, scores[positive])
    of_negative = 1.0 - _share_below(above, scores[~positive])
    area = float(of_positive.mean())
    values = np.empty(len(scores))
    values[positive] = area + (of_positive - area) * len(scores) / len(above)
    values[~positive] = area + (of_negative - area) * len(scores) / len(below)
    return values


def _share_below(ordered: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each score, the share of ``ordered`` that is below it; equal ones count half."""
    left = np.searchsorted(ordered, scores, side="left")
    right = np.searchsorted(ordered, scores, side="right")
    shares: NDArray[np.float64] = (left + right) / (2 * len(ordered))
    return shares
