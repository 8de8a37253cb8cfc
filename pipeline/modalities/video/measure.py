"""Exact statistics of decoded clips: their colours, and how many frames they have."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums, distribution, moments, row_step, value_shape
from pipeline.modalities.codecs import dense_column
from pipeline.modalities.image.cheap import small_pixels
from pipeline.modalities.video.frames import are_there


@dataclass(frozen=True)
class VideoMeasure:
    """Mean and deviation of each channel over some rows of the frames that are there, and how many those are."""

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        """Sums of each channel's values and of their squares, and counts of frames."""
        shape = value_shape(field)
        totals = np.zeros((2, shape[-1]), dtype=np.int64)
        frames: Counter[int] = Counter()
        for chunk in column.chunks:
            for start in range(len(chunk)):
                dense = dense_column(chunk.slice(start, 1), shape)
                for clip in dense.values[dense.present]:
                    real = clip[are_there(clip)]
                    frames[len(real)] += 1
                    rows = real[:, :: row_step(shape[1:])].reshape(-1, shape[-1]).astype(np.int64)
                    totals += np.stack([rows.sum(axis=0), (rows * rows).sum(axis=0)])
        first, second = totals.tolist()
        counts = {str(number): frames[number] for number in frames}
        return {"sums": first, "squares": second, "frames": counts}

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        """Moments of each channel and of all, and the distribution of the number of frames."""
        shape = value_shape(field)
        step = row_step(shape[1:])
        frames = {int(number): count for number, count in sums["frames"].items()}
        real = sum(number * count for number, count in frames.items())
        return {
            "shape": list(shape),
            "dtype": str(field.type.value_type),
            "bytes": sums["present"] * math.prod(shape),
            "unit": "0..255",
            "axis": "channel",
            "every_nth_row": step,
            **moments(sums, real * len(range(0, shape[1], step)) * shape[2], 1),
            "frames": distribution(frames),
        }


def small_frames(values: np.ndarray) -> np.ndarray:
    """What a cheap model sees of clips: the mean of their frames, and the mean change from one to the next, made small.

    Args:
        values: (B, N, H, W, C) uint8, zeros where a clip has no frame.

    Returns:
        (B, 2 * F) float32, F as of :func:`pipeline.modalities.image.cheap.small_pixels`.
    """
    there = are_there(values)[..., None, None, None]
    frames = values.astype(np.float32)
    mean = frames.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    both = there[:, 1:] & there[:, :-1]
    steps = np.where(both, np.abs(np.diff(frames, axis=1)), 0).sum(axis=1)
    change = steps / np.maximum(both.sum(axis=1), 1)
    return np.concatenate([small_pixels(mean), small_pixels(change)], axis=1)
