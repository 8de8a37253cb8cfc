"""PNG pixels -> RGB over white, where Pillow would compare the transparent colour at another depth than the image's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

from pipeline.modalities.image.formats.png import GREY, TRUECOLOUR, Outline

WHITE = (255, 255, 255)
_DEEP = 16  # bits of a sample
# Of samples of 16 bits Pillow keeps the upper byte; told that they are the other way round, it keeps the lower.
_UPPER, _LOWER = "RGB;16B", "RGB;16L"


def has_clear_colour(outline: Outline) -> bool:
    """Whether one grey value or colour of a PNG stands for what is transparent."""
    return outline.transparent is not None and outline.colour in (GREY, TRUECOLOUR)


def clear_to_white(
    image: Image.Image,
    outline: Outline,
    to_rgb: Callable[[Image.Image], Image.Image],
    again: Callable[[], ImageFile.ImageFile],
) -> Image.Image:
    """Converts a PNG with a transparent colour to RGB; what has that colour becomes white.

    Args:
        image: The PNG, loaded.
        outline: Of its file.
        to_rgb: Converts an image without transparency.
        again: Opens the file anew, for its samples' lower bytes.

    Raises:
        ValueError: The transparent colour is not told whole.

    Source: W3C PNG (third edition), 11.3.1.1: compared at the image's own depth; only the bits of that depth count.
    """
    clear = _clear(image, outline, again)
    image.info.pop("transparency", None)
    rgb = to_rgb(image)
    rgb = rgb.copy() if rgb is image else rgb
    rgb.paste(WHITE, mask=Image.fromarray(clear.astype(np.uint8) * 255))
    rgb.info = dict(image.info)  # how it is to be turned
    return rgb


def _clear(
    image: Image.Image, outline: Outline, again: Callable[[], ImageFile.ImageFile]
) -> np.ndarray:
    """(H, W) bool."""
    count = 1 if outline.colour == GREY else 3
    transparency = outline.transparent or b""
    if len(transparency) != 2 * count:
        raise ValueError(f"the PNG tells its transparent colour in {len(transparency)} bytes")
    most = (1 << outline.depth) - 1
    values = [
        int.from_bytes(transparency[at : at + 2], "big") & most for at in range(0, 2 * count, 2)
    ]
    if count == 1:
        if outline.depth == _DEEP:
            return np.asarray(np.asarray(image) == values[0])
        # Pillow spreads the values of fewer bits over 0..255.
        return np.asarray(np.asarray(image.convert("L")) == values[0] * 255 // most)
    if outline.depth < _DEEP:
        return np.asarray((np.asarray(image) == values).all(axis=-1))
    with again() as lower:
        lower.tile = [tile._replace(args=_lower(tile.args)) for tile in lower.tile]
        same = (np.asarray(lower) == [value & 255 for value in values]).all(axis=-1)
    same &= (np.asarray(image) == [value >> 8 for value in values]).all(axis=-1)
    return np.asarray(same)


def _lower(arguments: object) -> str:
    if arguments != _UPPER:
        raise ValueError("this version of Pillow reads 16-bit PNGs in another way")
    return _LOWER
