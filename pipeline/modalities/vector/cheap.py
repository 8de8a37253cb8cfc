"""What a cheap model sees of vectors: features as they are, and of a series how each channel runs."""

from __future__ import annotations

import numpy as np


def statistics(values: np.ndarray) -> np.ndarray:
    """Features, with zeros where a value is missing, or statistics of a series' channels over the steps that are there.

    Args:
        values: (B, 2, L) or (B, 2, T, C) float32: the values, then 1 where one is real.

    Returns:
        (B, L) float32; of a series (B, 5 * C): mean, deviation, lowest, highest, and mean step from one to the next.
    """
    numbers, real = values[:, 0], values[:, 1] > 0
    if numbers.ndim == 2:
        return np.where(real, numbers, 0).astype(np.float32)
    count = np.maximum(real.sum(axis=1), 1)
    mean = np.where(real, numbers, 0).sum(axis=1) / count
    spread = np.where(real, numbers - mean[:, None], 0)
    deviation = np.sqrt((spread**2).sum(axis=1) / count)
    low = np.where(real, spread, np.inf).min(axis=1)
    high = np.where(real, spread, -np.inf).max(axis=1)
    both = real[:, 1:] & real[:, :-1]
    steps = np.where(both, np.abs(np.diff(numbers, axis=1)), 0).sum(axis=1)
    moved = steps / np.maximum(both.sum(axis=1), 1)
    columns = [mean, deviation, np.nan_to_num(low, posinf=0), np.nan_to_num(high, neginf=0), moved]
    return np.concatenate(columns, axis=1).astype(np.float32)
