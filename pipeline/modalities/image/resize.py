"""Short side to ``size``, then the centre: both in one pass, on the pixels that are kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

try:
    import cykooz_resizer as simd
except (
    ImportError
):  # has no wheel for ARM Linux; Pillow applies the same filter in four times the time
    simd = None

CHANNELS = 3


class Filter(NamedTuple):
    """A filter of resizing: pixels of the smaller image on either side that it sees, and its names."""

    support: int
    simd: str
    pillow: Image.Resampling


FILTERS = {
    "bilinear": Filter(1, "bilinear", Image.Resampling.BILINEAR),
    "bicubic": Filter(2, "catmull_rom", Image.Resampling.BICUBIC),
    "lanczos": Filter(3, "lanczos3", Image.Resampling.LANCZOS),
}
Box = tuple[
    float, float, float, float
]  # left, top, width, height in pixels, between which it may begin and end

# EXIF orientation -> whether rows, then columns, are reversed, and whether the two are swapped after that.
ORIENTATIONS = {
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}
UPRIGHT = (False, False, False)


class Picture(NamedTuple):
    """Pixels as they are stored, perhaps fewer than the image has.

    Attributes:
        pixels: (H, W, 3) uint8.
        width: Of the whole image, in pixels as stored.
        height: As ``width``.
        factor: How many of the image's pixels, each way, one of ``pixels`` stands for.
        orientation: EXIF's number for how the image is to be turned; 1 is upright.
    """

    pixels: np.ndarray
    width: int
    height: int
    factor: int = 1
    orientation: int = 1


def resize_and_crop(picture: Picture, size: int) -> np.ndarray:
    """Resizes the short side to ``size`` with an antialiasing bicubic filter, and keeps the centre.

    The result is that of resizing the whole upright image and cropping it then: the pixels that are kept are computed
    on the whole image's sampling grid, which the box between pixels expresses.

    Returns:
        (size, size, 3) uint8.

    Source: Keys 1981, equation 4, with a = -1/2, widened by the scale as in ``PIL.Image.resize``.
    """
    return cut(picture, lambda width, height: centre_box(width, height, size), size)


def cut(
    picture: Picture, box_of: Callable[[int, int], Box], size: int, filter: str = "bicubic"
) -> np.ndarray:
    """Resizes a box of an image to a square.

    Args:
        picture: The image.
        box_of: Width and height of the upright image -> the box in it.
        size: Side of the square, in pixels.
        filter: One of ``FILTERS``, antialiased.

    Returns:
        (size, size, 3) uint8, upright.
    """
    flip_rows, flip_columns, swapped = ORIENTATIONS.get(picture.orientation, UPRIGHT)
    width, height = picture.width, picture.height
    left, top, across, down = box_of(*((height, width) if swapped else (width, height)))
    if swapped:
        left, top, across, down = top, left, down, across
    if flip_columns:
        left = width - left - across
    if flip_rows:
        top = height - top - down
    factor = picture.factor
    square = _resize(
        picture.pixels,
        (left / factor, top / factor, across / factor, down / factor),
        size,
        FILTERS[filter],
    )
    if flip_rows:
        square = square[::-1]
    if flip_columns:
        square = square[:, ::-1]
    return square.swapaxes(0, 1) if swapped else square


def centre_box(width: int, height: int, size: int) -> Box:
    """The part of an image that ends up in the centre: left, top, width, height in its pixels."""
    scale = size / min(width, height)
    columns, rows = max(size, round(width * scale)), max(size, round(height * scale))
    left, top = (columns - size) // 2, (rows - size) // 2
    across, down = width / columns, height / rows
    return left * across, top * down, size * across, size * down


def _resize(pixels: np.ndarray, box: Box, size: int, filter: Filter) -> np.ndarray:
    """Resizes a box between pixels to ``size`` x ``size``."""
    left, top, across, down = box
    # Only what the filter sees is copied.
    margin_x = math.ceil(filter.support * max(1.0, across / size)) + 1
    margin_y = math.ceil(filter.support * max(1.0, down / size)) + 1
    x, y = max(0, int(left) - margin_x), max(0, int(top) - margin_y)
    seen = pixels[y : math.ceil(top + down) + margin_y, x : math.ceil(left + across) + margin_x]
    rows, columns = seen.shape[:2]
    left, across = _inside(left - x, across, columns)
    top, down = _inside(top - y, down, rows)
    # Release 4.0.1 of the resizer crashes the process where a few pixels are to become many.
    if simd is None or across < size or down < size:
        edges = (left, top, left + across, top + down)
        image = Image.fromarray(seen).resize((size, size), filter.pillow, box=edges)
        return np.asarray(image)
    source = simd.ImageData(columns, rows, simd.PixelType.U8x3, seen.tobytes())
    target = simd.ImageData(size, size, simd.PixelType.U8x3)
    crop = simd.CropBox(left, top, across, down)
    _simd_resizer().resize(
        source, target, simd.ResizeOptions(_simd_filter(filter.simd), crop_box=crop)
    )
    return np.frombuffer(target.get_buffer(), np.uint8).reshape(size, size, CHANNELS)


def _inside(start: float, length: float, size: int) -> tuple[float, float]:
    """A stretch without what rounding puts outside 0..size, which the resizers refuse."""
    start = max(0.0, start)
    length = min(length, size - start)
    return start, length if start + length <= size else math.nextafter(length, 0.0)


@cache
def _simd_resizer() -> Any:
    return simd.Resizer()


@cache
def _simd_filter(name: str) -> Any:
    return simd.ResizeAlg.convolution(getattr(simd.FilterType, name))
