"""Decoded images as pictures."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

LONGEST_SIDE = 144  # pixels of a picture; larger ones are made smaller


def image_png(values: np.ndarray) -> bytes:
    """An image as PNG.

    Args:
        values: uint8 (H, W, 3).
    """
    image = Image.fromarray(values)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
