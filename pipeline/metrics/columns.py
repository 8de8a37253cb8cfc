"""What is measured of a column of decoded values: exact sums of a part of it, and what the sums of all parts say.

A modality chooses one of these, or brings its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STEPS = 1024  # real values are taken to the nearest 1/1024: whole numbers add up exactly
MEASURED_ROWS = 56  # of an image, at least
# Rows added at a time: float32 holds 256 * 255**2 exactly, and adds fastest.
BLOCK_ROWS = 256
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

Sums = dict[str, Any]  # nested dicts, lists and whole numbers


class ColumnMeasure(Protocol):
    """What is measured of one column; picklable, called on the workers."""

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        """The sums of a part: whole numbers in dicts and lists, which add up in any order."""

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        """What the sums of all parts say, ready for JSON; ``sums["present"]`` is how many values there are."""


@dataclass(frozen=True)
class LengthMeasure:
    """Lengths of lists, such as tokens; the field's metadata may say ``max_tokens``."""

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        """How many values have which length."""
        return {"lengths": counted(pc.list_value_length(column).drop_null().to_pylist())}

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        """Their distribution, and how many are as long as may be."""
        lengths = {int(length): count for length, count in sums["lengths"].items()}
        limit = int((field.metadata or {}).get(b"max_tokens", b"0"))
        total = sum(length * count for length, count in lengths.items())
        return {
            "bytes": total * field.type.value_type.bit_width // 8,
            "tokens": {
                **distribution(lengths),
                "total": total,
                "limit": limit,
                "at_limit": lengths.get(limit, 0),
                "histogram": {str(length): lengths[length] for length in sorted(lengths)},
            },
        }


@dataclass(frozen=True)
class ChannelMeasure:
    """Mean and deviation of each channel of (H, W, C) whole numbers of 0..255, over some of the rows."""

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        """Sums of each channel's values, and of their squares."""
        shape = value_shape(field)
        totals = np.zeros((2, shape[-1]), dtype=np.int64)
        # One value at a time, in memory that is used again, so that it stays in a core's cache.
        scratch = np.empty((BLOCK_ROWS, shape[-2] * shape[-1]), np.float32)
        for value in _values(column, shape):
            totals += _channel_sums(value[:: row_step(shape)], scratch)
        first, second = totals.tolist()
        return {"sums": first, "squares": second}

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        """Moments of each channel and of all."""
        shape = value_shape(field)
        rows = len(range(0, shape[0], row_step(shape)))
        count = sums["present"] * rows * math.prod(shape[1:-1])
        return {
            "every_nth_row": row_step(shape),
            **_described(sums["present"], shape, field.type.value_type, "0..255", "channel"),
            **moments(sums, count, 1),
        }


@dataclass(frozen=True)
class BinMeasure:
    """Mean and deviation of each bin of (F, N) decibels, over all frames, and how many frames are heard.

    Attributes:
        frame_seconds: From frame to frame.
    """

    frame_seconds: float

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        """Sums of each bin's values in 1/STEPS, of their squares, and frames up to the last that is heard."""
        shape = value_shape(field)
        totals = np.zeros((2, shape[0]), dtype=np.int64)
        frames: Counter[int] = Counter()
        scratch = np.empty(shape)
        for value in _values(column, shape):
            both, heard = _bin_sums(value, scratch)
            totals += both
            frames[heard] += 1
        first, second = totals.tolist()
        return {
            "sums": first,
            "squares": second,
            "frames": {str(length): frames[length] for length in frames},
        }

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        """Moments of each bin and of all, and the distribution of what is heard, in frames and in seconds."""
        shape = value_shape(field)
        frames = {int(length): count for length, count in sums["frames"].items()}
        heard = distribution(frames)
        return {
            **_described(sums["present"], shape, field.type.value_type, "dB", "mel bin"),
            **moments(sums, sums["present"] * shape[1], STEPS),
            "heard_frames": heard,
            "heard_seconds": {
                name: round(value * self.frame_seconds, 6)
                for name, value in heard.items()
                if value is not None
            },
        }


def _values(column: pa.ChunkedArray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The values that are there, one after the other."""
    for chunk in column.chunks:
        yield from chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, *shape)


def _described(
    present: int, shape: tuple[int, ...], dtype: pa.DataType, unit: str, axis: str
) -> dict[str, Any]:
    return {
        "shape": list(shape),
        "dtype": str(dtype),
        "bytes": present * math.prod(shape) * dtype.bit_width // 8,
        "unit": unit,
        "axis": axis,
    }


def value_shape(field: pa.Field) -> tuple[int, ...]:
    """The shape that a column's metadata gives its values; () for lists of any length."""
    text = (field.metadata or {}).get(b"shape", b"").decode()
    return tuple(int(size) for size in text.split(",")) if text else ()


def row_step(shape: tuple[int, ...]) -> int:
    """Which rows of an image (H, W, C) are measured: every first where it has fewer than 112, every fourth of 224.

    All of them would cost 3 % of decoding a photo, and change the third digit of a deviation at most.
    """
    return max(1, shape[0] // MEASURED_ROWS)


def _channel_sums(value: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """Sums of (..., W, C) uint8, and of its squares, over all but C: (2, C) int64.

    Rows are added first: that runs along memory.
    """
    channels = value.shape[-1]
    rows = value.reshape(-1, value.shape[-2] * channels)
    both = np.zeros((2, rows.shape[1]))
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        few = scratch[: len(block)]
        np.copyto(few, block)
        ones = np.ones(len(few), dtype=np.float32)
        both[0] += ones @ few
        few *= few
        both[1] += ones @ few
    by_channel: np.ndarray = both.reshape(2, -1, channels).sum(axis=1).astype(np.int64)
    return by_channel


def _bin_sums(value: np.ndarray, scratch: np.ndarray) -> tuple[np.ndarray, int]:
    """Sums of (F, N) floats, and of their squares, over N, (2, F) int64, and the frames up to the last that is heard.

    The sums are in units of 1/STEPS. A frame in which all bins are at the sound's floor is silence or padding. Sums
    of one row are whole numbers below 2**53 for values below 2**11, so float64 holds them exactly.
    """
    steps = scratch
    np.copyto(steps, value)
    steps *= STEPS
    np.rint(steps, out=steps)
    loudest = steps.max(axis=0)  # (N,)
    heard = np.flatnonzero(loudest > steps.min())
    both = np.stack([steps @ np.ones(steps.shape[1]), np.einsum("fn,fn->f", steps, steps)])
    return both.astype(np.int64), int(heard[-1]) + 1 if len(heard) else 0


def moments(sums: Sums, each: int, steps: int) -> dict[str, Any]:
    """Mean and standard deviation along the kept axis and over everything; None where there is no value."""
    first, second = sums.get("sums", []), sums.get("squares", [])
    pairs = [mean_and_deviation(s, q, each, steps) for s, q in zip(first, second, strict=True)]
    mean, deviation = mean_and_deviation(sum(first), sum(second), each * len(first), steps)
    return {
        "mean": [pair[0] for pair in pairs],
        "std": [pair[1] for pair in pairs],
        "overall_mean": mean,
        "overall_std": deviation,
    }


def mean_and_deviation(
    total: int, squares: int, count: int, steps: int
) -> tuple[float | None, float | None]:
    """Of ``count`` whole numbers in units of 1/steps, from their sum and the sum of their squares; exact up to here."""
    if not count:
        return None, None
    mean = Fraction(total, count)
    variance = Fraction(squares, count) - mean * mean
    return float(mean / steps), math.sqrt(float(variance / steps**2))


def distribution(counts: Mapping[int, int]) -> dict[str, float | None]:
    """Mean, standard deviation, ends and quantiles of counted whole numbers; None where there is none."""
    total = sum(counts.values())
    mean, deviation = mean_and_deviation(
        sum(value * count for value, count in counts.items()),
        sum(value * value * count for value, count in counts.items()),
        total,
        1,
    )
    numbers: dict[str, float | None] = {"mean": mean, "std": deviation}
    numbers["min"], numbers["max"] = (min(counts), max(counts)) if total else (None, None)
    for fraction in QUANTILES:
        numbers[f"p{round(100 * fraction)}"] = _quantile(counts, fraction) if total else None
    return numbers


def _quantile(counts: Mapping[int, int], fraction: float) -> int:
    """The smallest value that at least ``fraction`` of all do not exceed; as NumPy's ``inverted_cdf``."""
    rank = math.ceil(Fraction(str(fraction)) * sum(counts.values()))
    reached = 0
    for value in sorted(counts):
        reached += counts[value]
        if reached >= rank:
            return value
    raise ValueError("no values")


def counted(values: Iterable[object]) -> dict[str, int]:
    """How often each value comes, by its text: counts that survive JSON."""
    return {str(value): count for value, count in Counter(values).items()}
