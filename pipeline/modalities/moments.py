"""Mean and deviation of columns of numbers that come in pieces."""

from __future__ import annotations

from typing import TypedDict

import numpy as np


class Moments(TypedDict):
    """What is known of the training set's values; JSON.

    Attributes:
        mean: Of each column; 0 where there is no value.
        deviation: The same, the population's; 1 where it is 0 or there is no value.
        count: Values that each was computed of.
    """

    mean: list[float]
    deviation: list[float]
    count: list[int]


class RunningMoments:
    """Collects the mean and deviation of columns.

    Args:
        size: Number of columns (S).

    Source:
        Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equations 2.1: the sums of squared
        deviations of two sets give those of both, without the cancellation of large squares.
    """

    def __init__(self, size: int) -> None:
        self._count = np.zeros(size, dtype=np.int64)
        self._mean = np.zeros(size)
        self._squares = np.zeros(size)  # of deviations, added up

    def add(self, rows: np.ndarray, real: np.ndarray) -> None:
        """Adds float64 (N, S) values, those that bool (N, S) says are real."""
        count = real.sum(axis=0)
        divisor = np.maximum(count, 1)
        mean = np.where(real, rows, 0.0).sum(axis=0) / divisor
        squares = (np.where(real, rows - mean, 0.0) ** 2).sum(axis=0)
        total = self._count + count
        share = count / np.maximum(total, 1)
        distance = np.where(count > 0, mean - self._mean, 0.0)
        self._squares += squares + distance**2 * self._count * share
        self._mean += distance * share
        self._count = total

    def result(self) -> Moments:
        """What was found."""
        deviation = np.sqrt(self._squares / np.maximum(self._count, 1))
        # A constant's deviation is rounding, and what it is divided by must not blow that up.
        constant = deviation <= np.abs(self._mean) * np.finfo(np.float32).eps
        return {
            "mean": self._mean.tolist(),
            "deviation": np.where(constant, 1.0, deviation).tolist(),
            "count": [int(count) for count in self._count],
        }
