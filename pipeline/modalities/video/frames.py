"""What stands in a place that a clip has no frame for: zeros, which no frame that is there consists of."""

from __future__ import annotations

import numpy as np

BLACK = (
    1  # of 255, in one channel of the first pixel: what a frame that is black all over has there
)


def marked(pixels: np.ndarray) -> np.ndarray:
    """A frame, (H, W, 3) uint8, that does not consist of zeros: changed in place where it is black all over."""
    if not pixels.any():
        pixels[0, 0, 0] = BLACK
    return pixels


def are_there(values: np.ndarray) -> np.ndarray:
    """Which of (..., H, W, 3) frames are there, (...) bool."""
    there: np.ndarray = np.asarray(values.any(axis=(-3, -2, -1)))
    return there
