"""Metrics of predicted numbers, with bootstrap intervals; the numbers are scikit-learn's and SciPy's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.resampling.bootstrap import (
    CONFIDENCE,
    NUM_RESAMPLES,
)
from pipeline.metrics.resampling.estimate import (
    Estimate,
    estimate,
    mean_where_defined,
    paired_difference,
    row_means_where_defined,
)
from pipeline.metrics.resampling.regression import NAMES, resampled_metrics


@dataclass(frozen=True, slots=True)
class RegressionScores:
    """Metrics of one output, or their means over several.

    Attributes:
        num_samples: N.
        mae: Mean absolute error, in the target's unit.
        rmse: Root of the mean squared error, in the target's unit.
        r2: Coefficient of determination, at most 1; undefined for constant targets.
        spearman: Rank correlation, -1..1; undefined for constant targets or predictions.
    """

    num_samples: int
    mae: Estimate
    rmse: Estimate
    r2: Estimate
    spearman: Estimate


@dataclass(frozen=True, slots=True)
class RegressionMetrics:
    """Metrics of all outputs.

    Attributes:
        overall: Each metric's mean over the outputs for which it is defined.
        outputs: The K outputs, in order; one where targets are (N,).
    """

    overall: RegressionScores
    outputs: tuple[RegressionScores, ...]


def regression_metrics(
    targets: NDArray[np.float64],
    predictions: NDArray[np.float64],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
    names: Sequence[str] = (),
) -> RegressionMetrics:
    """MAE, RMSE, R2 and Spearman's rank correlation with percentile intervals.

    Samples are resampled, all outputs of one together. A resample for which a metric is undefined
    (say all its targets are equal) is left out of that metric's interval.

    Args:
        targets: (N,) or (N, K) float64, in the target's unit.
        predictions: The same shape and unit.
        seed: Same seed, same intervals.
        num_resamples: Bootstrap resamples.
        confidence: Share of resamples inside an interval.
        names: The outputs', for what a mean leaves out; numbered from 0 without them.

    Raises:
        ValueError: Shapes that differ or are neither (N,) nor (N, K), or targets that are not finite.
        ModelError: Predictions that are not finite.

    Source: Spearman 1904, "The Proof and Measurement of Association between Two Things" (equal
    values share their mean rank); Efron, Tibshirani 1993, chapter 13, for the intervals.
    """
    targets, predictions = _columns(targets, predictions)
    resampled = resampled_metrics(targets, predictions, seed=seed, num_resamples=num_resamples)
    values, reasons = _observed(targets, predictions)
    outputs = tuple(
        RegressionScores(
            len(targets),
            *(
                estimate(
                    values[k][i], resampled[:, k, i], undefined=reasons[k][i], confidence=confidence
                )
                for i in range(len(NAMES))
            ),
        )
        for k in range(targets.shape[1])
    )
    if len(outputs) == 1:
        return RegressionMetrics(outputs[0], outputs)
    means = (
        estimate(
            mean_where_defined([row[i] for row in values]),
            row_means_where_defined(resampled[:, :, i]),
            undefined=_left_out([row[i] for row in reasons], names),
            confidence=confidence,
        )
        for i in range(len(NAMES))
    )
    return RegressionMetrics(RegressionScores(len(targets), *means), outputs)


def paired_mae_difference(
    targets: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The first model's MAE minus the second's on the same samples; below zero the first is better.

    Args:
        targets: (N,) or (N, K) float64; K absolute errors of a sample are averaged.
        first: Predictions of the first model, of the same shape.
        second: Predictions of the second model, of the same shape.
        seed: Same seed, same interval.
        num_resamples: Bootstrap resamples.
        confidence: Share of resamples inside the interval.

    Returns:
        The difference with its interval; undefined without samples.

    Raises:
        ValueError: See :func:`regression_metrics`.
        ModelError: See :func:`regression_metrics`.
    """
    errors = []
    for predictions in (first, second):
        columns, predicted = _columns(targets, predictions)
        errors.append(np.abs(predicted - columns).mean(axis=1))
    return paired_difference(*errors, seed=seed, num_resamples=num_resamples, confidence=confidence)


def _columns(
    targets: NDArray[np.float64], predictions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as (N, K) float64, checked."""
    targets, predictions = np.asarray(targets, np.float64), np.asarray(predictions, np.float64)
    if targets.shape != predictions.shape or targets.ndim not in (1, 2):
        raise ValueError(f"targets {targets.shape} and predictions {predictions.shape} do not fit")
    if not np.isfinite(targets).all():
        raise ValueError("a target is not finite")
    if not np.isfinite(predictions).all():
        raise ModelError(
            "the model predicted numbers that are not finite",
            where=f"{int((~np.isfinite(predictions)).sum())} of {predictions.size} predictions",
            fix="train again with a smaller train.learning_rate",
        )
    if targets.ndim == 1:
        return targets[:, None], predictions[:, None]
    return targets, predictions


def _observed(
    targets: NDArray[np.float64], predictions: NDArray[np.float64]
) -> tuple[list[list[float | None]], list[list[str | None]]]:
    """K rows of the metrics over all samples, and K rows of why one is undefined."""
    from scipy.stats import spearmanr  # these cost seconds, so only where a number is asked for
    from sklearn import metrics as sk

    values: list[list[float | None]] = []
    reasons: list[list[str | None]] = []
    for target, prediction in zip(targets.T, predictions.T, strict=True):
        why = _undefined(target, prediction)
        functions = (
            sk.mean_absolute_error,
            sk.root_mean_squared_error,
            sk.r2_score,
            lambda *pair: spearmanr(*pair).statistic,
        )
        values.append(
            [
                float(function(target, prediction)) if reason is None else None
                for function, reason in zip(functions, why, strict=True)
            ]
        )
        reasons.append(why)
    return values, reasons


def _undefined(target: NDArray[np.float64], prediction: NDArray[np.float64]) -> list[str | None]:
    """Why each metric of one output is undefined, in the order of ``NAMES``; None where it is not."""
    if not len(target):
        return ["no samples"] * len(NAMES)
    if len(target) == 1:
        return [None, None, "fewer than two samples", "fewer than two samples"]
    if np.ptp(target) == 0:
        return [None, None, "all targets are equal", "all targets are equal"]
    return [None, None, None, "all predictions are equal" if np.ptp(prediction) == 0 else None]


def _left_out(reasons: Sequence[str | None], names: Sequence[str]) -> str | None:
    """What a mean over outputs leaves out, by the outputs' names."""
    names = names or [f"output {k}" for k in range(len(reasons))]
    missing = [f"{name}: {why}" for name, why in zip(names, reasons, strict=True) if why]
    return "; ".join(missing) or None
