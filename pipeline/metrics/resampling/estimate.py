"""A number of an evaluation with its interval, or the words that say why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import (
    CONFIDENCE,
    NUM_RESAMPLES,
    bootstrap_interval,
    percentiles,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric of one set of samples.

    Attributes:
        value: The metric over all samples; None where it is undefined, never NaN.
        interval: Lower and upper end of the bootstrap's percentile interval; None without one.
        undefined: Why there is no value, or what a mean leaves out; None where nothing is missing.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    undefined: str | None = None


def estimate(
    value: float | None,
    resampled: NDArray[np.float64],
    *,
    undefined: str | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """An estimate from the metric and its values over resamples.

    Args:
        value: The metric over all samples, None where undefined.
        resampled: (R,) float64, the metric of each resample; NaN where a resample leaves it
            undefined. Such resamples are left out of the interval.
        undefined: Kept as it is.
        confidence: Share of resamples inside the interval.
    """
    defined = resampled[~np.isnan(resampled)]
    if value is None or not len(defined):
        return Estimate(value, None, undefined)
    return Estimate(value, percentiles(defined, confidence), undefined)


def paired_difference(
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Compares two models on the same samples; resamples the pairs, not each model alone.

    Args:
        first: (N,) bool or float, per-sample values of the first model.
        second: (N,) the same samples' values of the second model.
        seed: Same seed, same result.
        num_resamples: Bootstrap resamples; 0: none, and no interval.
        confidence: Share of resamples inside the interval.

    Returns:
        Mean of the first minus mean of the second; undefined without samples.

    Raises:
        ValueError: If the shapes differ.

    Source: Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation", section 4.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"pairs of different shapes: {np.shape(first)} and {np.shape(second)}")
    if not len(first):
        return Estimate(None, undefined="no samples")
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    interval = bootstrap_interval(
        differences, seed=seed, num_resamples=num_resamples, confidence=confidence
    )
    return Estimate(float(differences.mean()), interval)


def mean_where_defined(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None where there is none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def row_means_where_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means (R,) over the entries of (R, K) float64 that are not NaN; NaN where a row has none."""
    defined = ~np.isnan(values)
    number = defined.sum(axis=1)
    totals = np.where(defined, values, 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.full(len(values), np.nan)
    np.divide(totals, number, out=means, where=number > 0)
    return means
