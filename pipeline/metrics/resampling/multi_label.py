"""The metrics of multi-label predictions over resamples of the samples, without sorting any resample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import resample_counts
from pipeline.metrics.resampling.estimate import row_means_where_defined

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Resamples:
    """Metrics of R resamples, NaN where a resample leaves one undefined.

    Attributes:
        average_precision: (R, K) float64.
        f1_micro: (R,) float64.
        f1_macro: (R,) float64.
        subset_accuracy: (R,) float64.
        hamming_loss: (R,) float64.
    """

    average_precision: Float
    f1_micro: Float
    f1_macro: Float
    subset_accuracy: Float
    hamming_loss: Float

    @property
    def mean_average_precision(self) -> Float:
        """(R,) float64: over the classes with a positive in the resample."""
        return row_means_where_defined(self.average_precision)


def resampled_metrics(
    labels: NDArray[np.bool_],
    probabilities: Float,
    predicted: NDArray[np.bool_],
    *,
    seed: int,
    num_resamples: int,
) -> Resamples:
    """The metrics of each resample.

    Args:
        labels: (N, K) bool.
        probabilities: (N, K) float64.
        predicted: (N, K) bool, the decisions at the thresholds.
        seed: Same seed, same resamples.
        num_resamples: R, 0 or more; none are drawn without samples.
    """
    num_samples, num_classes = labels.shape
    if not num_samples or not num_resamples:
        empty = np.zeros(0)
        return Resamples(np.zeros((0, num_classes)), empty, empty, empty, empty)
    rankings = [_Ranking(labels[:, k], probabilities[:, k]) for k in range(num_classes)]
    wrong = labels != predicted
    per_sample = np.stack([~wrong.any(axis=1), wrong.mean(axis=1)], axis=1).astype(np.float64)
    hits = (labels & predicted).astype(np.float64)
    marks = labels.astype(np.float64) + predicted  # twice a hit, once an error
    runs = []
    for counts in resample_counts(num_samples, seed=seed, num_resamples=num_resamples):
        precision = np.stack([ranking.average_precision(counts) for ranking in rankings], axis=1)
        true, total = counts @ hits, counts @ marks  # (r, K)
        shares = counts @ per_sample / num_samples
        f1 = _ratio(2 * true, total)
        micro = _ratio(2 * true.sum(axis=1), total.sum(axis=1))
        runs.append((precision, micro, row_means_where_defined(f1), shares[:, 0], shares[:, 1]))
    return Resamples(*(np.concatenate(column) for column in zip(*runs, strict=True)))


def resampled_precision(
    labels: NDArray[np.bool_], probabilities: Float, *, seed: int, num_resamples: int
) -> Float:
    """(R,) float64, the mean average precision of each resample of :func:`resampled_metrics`; see there."""
    undecided = np.zeros_like(labels)
    resamples = resampled_metrics(
        labels, probabilities, undecided, seed=seed, num_resamples=num_resamples
    )
    return resamples.mean_average_precision


class _Ranking:
    """The samples by falling probability of one class.

    Args:
        positive: (N,) bool.
        scores: (N,) float64.
    """

    def __init__(self, positive: NDArray[np.bool_], scores: Float) -> None:
        self._order = np.argsort(-scores, kind="stable")
        falling = scores[self._order]
        self._positive = np.flatnonzero(positive[self._order])  # places in the ranking
        # Samples of one score are passed together: each counts up to the last place of its score.
        ends = np.searchsorted(-falling, -falling[self._positive], side="right") - 1
        self._ends, self._starts = np.unique(ends, return_index=True)

    def average_precision(self, counts: Float) -> Float:
        """(r,) float64 of resamples ``counts`` (r, N); NaN where one has no positive.

        Source: AP = sum over thresholds n of (R_n - R_(n-1)) P_n, as scikit-learn's
        ``average_precision_score`` has it. Only thresholds that pass a positive add to it.
        """
        if not len(self._positive):
            return np.full(len(counts), np.nan)
        ranked = counts[:, self._order]
        passed = np.cumsum(ranked, axis=1)[:, self._ends]
        gained = np.add.reduceat(ranked[:, self._positive], self._starts, axis=1)
        true = np.cumsum(gained, axis=1)
        precision = np.divide(true, passed, out=np.zeros_like(true), where=passed > 0)
        return _ratio((gained * precision).sum(axis=1), true[:, -1])


def _ratio(part: Float, whole: Float) -> Float:
    """``part / whole``, NaN where the whole is zero."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
