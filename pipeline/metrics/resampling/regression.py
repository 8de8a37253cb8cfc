"""The metrics of predicted numbers over resamples of the samples, without sorting any resample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import resample_counts

NAMES = ("mae", "rmse", "r2", "spearman")


def resampled_metrics(
    targets: NDArray[np.float64],
    predictions: NDArray[np.float64],
    *,
    seed: int,
    num_resamples: int,
) -> NDArray[np.float64]:
    """The metrics of each resample of the samples.

    Args:
        targets: (N, K) float64.
        predictions: (N, K) float64.
        seed: Same seed, same resamples.
        num_resamples: R, 0 or more; none are drawn without samples.

    Returns:
        (R, K, 4) float64 in the order of ``NAMES``, NaN where a resample leaves a metric undefined.
    """
    num_samples, num_outputs = targets.shape
    if not num_samples or not num_resamples:
        return np.zeros((0, num_outputs, len(NAMES)))
    pairs = [
        (target, prediction, _Ranks(target), _Ranks(prediction))
        for target, prediction in zip(targets.T, predictions.T, strict=True)
    ]
    runs = [
        np.stack([np.stack(list(_metrics(counts, *pair)), axis=1) for pair in pairs], axis=1)
        for counts in resample_counts(num_samples, seed=seed, num_resamples=num_resamples)
    ]
    return np.concatenate(runs)


def _metrics(
    counts: NDArray[np.float64],
    target: NDArray[np.float64],
    prediction: NDArray[np.float64],
    target_ranks: _Ranks,
    prediction_ranks: _Ranks,
) -> Iterator[NDArray[np.float64]]:
    """The four metrics, each (r,), of resamples that draw the N samples of one output ``counts`` (r, N) times."""
    num_samples = len(target)
    errors = prediction - target
    squared = counts @ errors**2
    yield counts @ np.abs(errors) / num_samples
    yield np.sqrt(squared / num_samples)
    target_varies = target_ranks.vary(counts)
    centred = target - np.median(target)  # without it squares of far targets cancel
    spread = counts @ centred**2 - (counts @ centred) ** 2 / num_samples
    unexplained = np.divide(
        squared, spread, out=np.full(len(counts), np.nan), where=target_varies & (spread > 0)
    )
    yield 1 - unexplained
    yield _correlation(
        counts,
        target_ranks.of(counts),
        prediction_ranks.of(counts),
        target_varies & prediction_ranks.vary(counts),
    )


class _Ranks:
    """Ranks of one output's values within resamples, without sorting any resample.

    Args:
        values: (N,) float64.
    """

    def __init__(self, values: NDArray[np.float64]) -> None:
        distinct, self._group = np.unique(values, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.searchsorted(self._group[self._order], np.arange(len(distinct)))

    def of(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(r, N): the mean rank of each sample's value; equal values share it."""
        sizes = self._sizes(counts)
        ranks = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
        return np.asarray(ranks[:, self._group])

    def vary(self, counts: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(r,): whether a resample holds two different values."""
        return np.asarray((self._sizes(counts) > 0).sum(axis=1) > 1)

    def _sizes(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(r, U): how often a resample holds each of the U distinct values, ascending."""
        return np.asarray(np.add.reduceat(counts[:, self._order], self._starts, axis=1))


def _correlation(
    counts: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    defined: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(r,) Pearson's correlation of ranks (r, N), each pair ``counts`` (r, N) times."""
    middle = (counts.shape[1] + 1) / 2  # the mean of ranks 1..N, tied or not
    first, second = first - middle, second - middle
    covariance = np.einsum("rn,rn,rn->r", counts, first, second)
    spread = np.einsum("rn,rn,rn->r", counts, first, first)
    spread *= np.einsum("rn,rn,rn->r", counts, second, second)
    correlation: NDArray[np.float64] = np.full(len(counts), np.nan)
    np.divide(covariance, np.sqrt(spread), out=correlation, where=defined & (spread > 0))
    return correlation
