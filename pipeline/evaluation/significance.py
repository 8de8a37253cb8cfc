"""Tests of whether two models differ on the same samples by more than chance, and their correction for many of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import NUM_RESAMPLES, bootstrap_means

LEVEL = 0.05  # below which a corrected p-value counts


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """The exact two-sided test of two classifiers on the same samples.

    Only samples that one of them has right and the other wrong say anything. Were both equally good, each would have
    half of those right, so their counts would be binomial.

    Args:
        first: (N,) bool, True where the first is right.
        second: (N,) bool, the same samples.

    Returns:
        The p-value; 1 where the two are right on the same samples.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages";
    exact as Dietterich 1998, "Approximate Statistical Tests for Comparing Supervised Classification Learning
    Algorithms", section 3.1, has it by chi-square.
    """
    from scipy.special import bdtr  # the binomial distribution function

    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    fewer, total = min(only_first, only_second), only_first + only_second
    return min(1.0, 2.0 * float(bdtr(fewer, total, 0.5))) if total else 1.0


def paired_bootstrap(
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> float | None:
    """The two-sided bootstrap test of a difference of means on the same samples.

    Pairs are resampled from differences that are shifted to a mean of zero, as if the two were equally good; the
    p-value is the share of resamples whose difference is at least as large as the one observed, which is counted among
    them.

    Args:
        first: (N,) per-sample scores of the first model.
        second: (N,) the same samples' scores of the second.
        seed: Same seed, same result.
        num_resamples: Resamples; the smallest p-value is 1 / (resamples + 1).

    Returns:
        The p-value; None without samples or without resamples.

    Source: Efron, Tibshirani 1993, "An Introduction to the Bootstrap", section 16.4, algorithm 16.2; counted as
    Davison, Hinkley 1997, "Bootstrap Methods and their Application", equation 4.11.
    """
    if not len(first) or not num_resamples:
        return None
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    observed = differences.mean()
    if not differences.any():
        return 1.0
    resampled = bootstrap_means(differences, seed=seed, num_resamples=num_resamples) - observed
    # A resample of the observed difference itself may miss it by its last digit.
    as_large = np.abs(resampled) >= abs(observed) * (1 - 1e-12)
    return float((1 + as_large.sum()) / (1 + num_resamples))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for how many there are: the chance that any of the tests below one is wrong is at most that.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
