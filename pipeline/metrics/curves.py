"""Curves short enough to be written and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Curve = Mapping[str, Sequence[float]]
"""Name of an axis -> the values of its P points."""

# Points kept of one curve, and curves kept: what a reader can see, and what keeps the JSON small.
CURVE_POINTS = 200
MAX_CURVES = 50


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most ``CURVE_POINTS`` points of a curve, evenly spaced along it, both ends included.

    Args:
        x: (P,) float64.
        y: (P,) float64.
    """
    if len(x) <= CURVE_POINTS:
        return x, y
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    places = np.linspace(0, length[-1], CURVE_POINTS)
    index = np.unique(np.minimum(np.searchsorted(length, places), len(x) - 1))
    index[-1] = len(x) - 1
    return x[index], y[index]
