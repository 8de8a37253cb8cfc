"""A number of an evaluation with its interval, or the words that say why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import CONFIDENCE, percentiles


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
