"""Quantiles of any number of values in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

DIGITS = 4  # significant digits kept of a value
PENDING = 1 << 14  # values folded into the counts at a time
EXACT_BELOW = 10**DIGITS


@dataclass(frozen=True)
class Spread:
    """What a distribution comes to; whole numbers are ints, others have six decimals.

    Attributes:
        count: Values.
        total: Their sum.
        min: The smallest; None, as the next three, where there are no values.
        median: The smallest that at least half of them do not exceed.
        p95: The smallest that at least 95 % of them do not exceed.
        max: The largest.
    """

    count: int
    total: int | float
    min: int | float | None = None
    median: int | float | None = None
    p95: int | float | None = None
    max: int | float | None = None


class Distribution:
    """Counts of non-negative values, rounded to four significant digits.

    Whole numbers below 10,000 are kept as they are, such as the width of an image; of others a quantile is off by at
    most 0.05 %. Memory grows with the number of distinct roundings, 9,000 for each power of ten, and not with the
    number of values. The smallest, the largest and the sum are exact.

    Attributes:
        count: Values added.
        total: Their sum.
        minimum: The smallest; infinite where there is none.
        maximum: The largest; minus infinite where there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self._counts: Counter[float] = Counter()
        self._pending: list[float] = []

    def add(self, value: float) -> None:
        """Adds one value, at least 0."""
        self._pending.append(value)
        if len(self._pending) >= PENDING:
            self._fold()

    def merge(self, other: Distribution) -> None:
        """Adds all values of another."""
        self._fold()
        other._fold()
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self._counts.update(other._counts)

    def quantile(self, fraction: float) -> float:
        """The smallest value that at least ``fraction`` of the values do not exceed; NaN where there is none."""
        self._fold()
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(fraction * self.count - 1e-9))
        if rank in (1, self.count):
            return self.minimum if rank == 1 else self.maximum
        ordered = sorted(self._counts)
        reached = np.cumsum([self._counts[value] for value in ordered])
        value = ordered[int(np.searchsorted(reached, rank))]
        return min(max(value, self.minimum), self.maximum)

    def spread(self) -> Spread:
        """Its values in six numbers."""
        self._fold()
        if not self.count:
            return Spread(0, _plain(self.total))
        values = (self.minimum, self.quantile(0.5), self.quantile(0.95), self.maximum)
        return Spread(self.count, _plain(self.total), *map(_plain, values))

    def _fold(self) -> None:
        if not self._pending:
            return
        values = np.asarray(self._pending, dtype=np.float64)
        self._pending = []
        self.count += len(values)
        self.total += float(values.sum())
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        distinct, counts = np.unique(_rounded(values), return_counts=True)
        self._counts.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))


def _rounded(values: np.ndarray) -> np.ndarray:
    """(N,) float64 -> (N,) float64 of ``DIGITS`` significant digits; small whole numbers stay as they are."""
    exact = (values == 0) | ((values == np.floor(values)) & (values < EXACT_BELOW))
    safe = np.where(exact, 1.0, values)
    exponent = np.floor(np.log10(safe)) - (DIGITS - 1)
    # Dividing by a whole power of ten, never multiplying by a fraction, gives equal roundings equal bits.
    grow, shrink = 10.0 ** np.maximum(-exponent, 0), 10.0 ** np.maximum(exponent, 0)
    rounded: np.ndarray = np.where(exact, values, np.rint(safe * grow / shrink) * shrink / grow)
    return rounded


def _plain(value: float) -> float:
    """The value as an int where it is whole, for JSON and people."""
    return int(value) if value == math.floor(value) else round(value, 6)
