"""A decoded frame -> a square of RGB pixels, upright, by one explicit reformatter."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pipeline.modalities.image.resize import CHANNELS, Picture, resize_and_crop
from pipeline.modalities.video.library import pyav

MOST_ASPECT = 4  # beyond it, a frame is cut before it is made larger or smaller
FILTER = "BICUBIC"


class Square(NamedTuple):
    """How a frame becomes a square.

    Attributes:
        resize: What the short side becomes, in pixels.
        size: Side of the square that is kept of the centre, in pixels.
    """

    resize: int
    size: int


class Reformatter:
    """Converts the frames of clips; one for all of a process, since PyAV 17 and 18 keep memory for each that they make.

    Args:
        square: What frames become.
    """

    def __init__(self, square: Square) -> None:
        self._square = square
        self._reformatter = pyav().video.reformatter.VideoReformatter()

    def square(self, frame: Any) -> np.ndarray:
        """Resizes the short side and keeps the centre, as images are; pixels count as square, whatever the file says.

        Args:
            frame: ``av.VideoFrame``.

        Returns:
            (size, size, 3) uint8, upright.
        """
        width, height = frame.width, frame.height
        short = min(width, height)
        if max(width, height) > MOST_ASPECT * short:
            pixels = resize_and_crop(self._cut(frame), self._square.size)
        else:
            scale = self._square.resize / short
            sides = [max(self._square.resize, round(side * scale)) for side in (width, height)]
            pixels = _centre(self._rgb(frame, *sides), self._square.size)
        return turned(pixels, frame.rotation)

    def within(self, frame: Any, side: int) -> np.ndarray:
        """The whole frame, upright, at most ``side`` wide and high, and even both ways: (H, W, 3) uint8."""
        width, height = frame.width, frame.height
        scale = min(1.0, side / max(width, height))
        sides = [max(2, math.ceil(scale * length / 2) * 2) for length in (width, height)]
        return turned(self._rgb(frame, *sides), frame.rotation)

    def _rgb(self, frame: Any, width: int, height: int) -> np.ndarray:
        small = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=FILTER
        )
        pixels: np.ndarray = small.to_ndarray()
        return pixels

    def _cut(self, frame: Any) -> Picture:
        """The centre of a long frame, at its own size."""
        pixels = self._rgb(frame, frame.width, frame.height)
        side = min(frame.width, frame.height)
        return Picture(_centre(pixels, side), side, side)


def _centre(pixels: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) -> (size, size, 3), as :func:`pipeline.modalities.image.resize.centre_box` cuts it."""
    top, left = ((length - size) // 2 for length in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def turned(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """Turns (H, W, 3) pixels counterclockwise, by a multiple of 90 degrees; other angles are left alone."""
    quarters, rest = divmod(degrees, 90)
    return pixels if rest or not quarters % 4 else np.ascontiguousarray(np.rot90(pixels, quarters))


__all__ = ["CHANNELS", "Reformatter", "Square"]
