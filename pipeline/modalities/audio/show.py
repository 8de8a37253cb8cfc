"""Decoded sounds as pictures of their spectrograms."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

# Dark to light through violet and orange, evenly in lightness, so that louder is lighter in print too.
COLOURS = (
    (8, 6, 32),
    (66, 24, 110),
    (148, 44, 112),
    (222, 84, 74),
    (250, 158, 78),
    (252, 244, 190),
)


def spectrogram_png(decibels: np.ndarray, low: float, high: float) -> bytes:
    """A spectrogram as PNG, time to the right and pitch upwards.

    Args:
        decibels: float (F, N), dB.
        low: What is darkest, in dB.
        high: What is lightest, in dB.
    """
    level = (decibels.astype(np.float32) - low) / max(high - low, 1e-6)
    steps = np.linspace(0.0, 1.0, len(COLOURS))
    channels = [np.interp(level, steps, channel) for channel in np.transpose(COLOURS)]
    pixels = np.stack(channels, axis=-1).round().astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[::-1])).save(data, "PNG")
    return data.getvalue()
