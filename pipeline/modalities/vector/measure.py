"""Exact statistics of decoded vectors, whatever their size."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums, distribution, mean_and_deviation, value_shape
from pipeline.modalities.codecs import dense_column

# A float32 is a whole number of 24 bits times 2**e, with e no less than this: that of the smallest, as frexp has it.
MANTISSA_BITS, SMALLEST_EXPONENT = 24, -172
# Squares of 48 bits, of which int64 holds the sum.
BLOCK_STEPS = 1 << 14


@dataclass(frozen=True)
class VectorMeasure:
    """Mean and deviation of each channel or feature, how many values are missing, and how long series are.

    Sums are whole numbers of 2**-172, so that they add up to the same in any order, with nothing rounded.
    """

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        """Sums of each channel's values and of their squares, counts of those that are there, and ends of series."""
        shape = value_shape(field)
        counts = np.zeros(shape[-1], dtype=np.int64)
        first, second = [0] * shape[-1], [0] * shape[-1]
        lengths: Counter[int] = Counter()
        for chunk in column.chunks:
            dense = dense_column(chunk, shape)
            values = dense.values[dense.present]
            if len(shape) == 2:
                lengths.update(_lengths(values))
            steps = values.reshape(-1, shape[-1])
            for start in range(0, len(steps), BLOCK_STEPS):
                block = steps[start : start + BLOCK_STEPS]
                counts += np.isfinite(block).sum(axis=0)
                for channel, (total, squares) in enumerate(zip(*exact_sums(block), strict=True)):
                    first[channel] += total
                    second[channel] += squares
        sums: Sums = {"counts": counts.tolist(), "sums": first, "squares": second}
        return sums | ({"steps": _as_text(lengths)} if len(shape) == 2 else {})

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        """Moments of each channel or feature, and of all."""
        shape = value_shape(field)
        counts, first, second = sums["counts"], sums["sums"], sums["squares"]
        pairs = [_moments(*pair) for pair in zip(first, second, counts, strict=True)]
        overall = _moments(sum(first), sum(second), sum(counts))
        size = math.prod(shape)
        described: dict[str, Any] = {
            "shape": list(shape),
            "dtype": str(field.type.value_type),
            "bytes": sums["present"] * size * field.type.value_type.bit_width // 8,
            "axis": "channel" if len(shape) == 2 else "feature",
            "missing_values": sums["present"] * size - sum(counts),
            "mean": [mean for mean, _ in pairs],
            "std": [deviation for _, deviation in pairs],
            "overall_mean": overall[0],
            "overall_std": overall[1],
        }
        if "steps" in sums:
            steps = {int(length): count for length, count in sums["steps"].items()}
            described["steps"] = distribution(steps)
        return described


def exact_sums(values: np.ndarray) -> tuple[list[int], list[int]]:
    """Sums of float32 (N, C) values, and of their squares, over N <= 16384; what is not finite does not count.

    Returns:
        Of each channel, in units of 2**-172 and of 2**-344.
    """
    mantissa, exponent = np.frexp(np.where(np.isfinite(values), values, 0).astype(np.float64))
    mantissas = (mantissa * (1 << MANTISSA_BITS)).astype(np.int64)
    shifts = exponent - MANTISSA_BITS - SMALLEST_EXPONENT
    first, second = [0] * values.shape[1], [0] * values.shape[1]
    for shift in np.unique(shifts[mantissas != 0]).tolist():
        chosen = np.where(shifts == shift, mantissas, 0)
        totals = zip(chosen.sum(axis=0).tolist(), (chosen**2).sum(axis=0).tolist(), strict=True)
        for channel, (total, squares) in enumerate(totals):
            first[channel] += total << shift
            second[channel] += squares << 2 * shift
    return first, second


def _lengths(values: np.ndarray) -> list[int]:
    """Steps up to the last that has a value, of each (T, C) series."""
    real = np.isfinite(values).any(axis=2)
    return (real.shape[1] - real[:, ::-1].argmax(axis=1)).tolist()  # type: ignore[no-any-return]


def _moments(total: int, squares: int, count: int) -> tuple[float | None, float | None]:
    return mean_and_deviation(total, squares, count, 1 << -SMALLEST_EXPONENT)


def _as_text(counts: Counter[int]) -> dict[str, int]:
    return {str(number): count for number, count in counts.items()}
