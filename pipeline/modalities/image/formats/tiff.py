"""TIFF pixels -> RGB over white, by what the file says of its samples; Pillow passes over part of that.

Source: TIFF 6.0, sections 8 (PhotometricInterpretation), 16 (CMYK), 18 (ExtraSamples), 19 (SampleFormat).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

_BITS, _PHOTOMETRIC, _PALETTE, _INK_SET, _FORMAT = 258, 262, 320, 332, 339
_LOWEST, _HIGHEST, _COUNT, _PLANES = 340, 341, 277, 284
_APART = 2  # planes
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _COLOURS_OF_A_TABLE, _INKS = 0, 1, 3, 5
_WHOLE, _SIGNED, _REAL, _UNDEFINED = 1, 2, 3, 4  # formats of samples
_CMYK = 1  # an ink set
OVERSHOOT = 0.1  # of real samples beyond 0..1, which sharpening and resizing leave


class Samples(NamedTuple):
    """What a TIFF says of its samples.

    Attributes:
        photometric: What they stand for.
        bits: Of a sample.
        format: Whole, signed or real numbers.
        range: The lowest and highest value, where the file tells them.
        palette: Red, then green, then blue of each entry, 16 bits each.
    """

    photometric: int
    bits: int
    format: int
    range: tuple[float, float] | None
    palette: tuple[int, ...]


def read_samples(tags: Any) -> Samples:
    """Reads the tags.

    Args:
        tags: ``tag_v2`` of a TIFF that Pillow has opened.

    Raises:
        ValueError: What the samples mean is not known.
    """
    formats = set(tags.get(_FORMAT, (_WHOLE,)))
    kind = min(formats)
    if len(formats) > 1 or kind not in (_WHOLE, _REAL, _UNDEFINED):
        names = {_SIGNED: "signed"}
        kinds = " and ".join(names.get(number, f"format {number}") for number in sorted(formats))
        raise ValueError(f"the samples of the TIFF are {kinds}: what is black is not known")
    if tags.get(_PHOTOMETRIC) == _INKS and tags.get(_INK_SET, _CMYK) != _CMYK:
        raise ValueError("the inks of the TIFF are none of cyan, magenta, yellow and black")
    bits = max(tags.get(_BITS, (1,)))
    photometric = tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO)
    # Pillow takes such planes for pixels of another layout.
    if (
        tags.get(_PLANES) == _APART
        and tags.get(_COUNT, 1) > 1
        and (bits > 8 or photometric == _BLACK_IS_ZERO)
    ):
        raise ValueError(f"no reader here knows TIFFs that keep {bits}-bit samples in planes")
    lowest, highest = tags.get(_LOWEST), tags.get(_HIGHEST)
    told_range = None
    if lowest and highest and min(highest) > max(lowest):
        told_range = float(max(lowest)), float(min(highest))
    return Samples(
        photometric,
        bits,
        kind,
        told_range,
        tuple(tags.get(_PALETTE, ())),
    )


def to_rgb(
    image: Image.Image, samples: Samples, plain: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Converts a TIFF that was loaded.

    Args:
        image: The TIFF.
        samples: What it says of its samples.
        plain: Converts an image whose mode tells all.

    Raises:
        ValueError: Which value is white is not known.
    """
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _grey(image, samples)
    if image.mode == "La":
        return plain(image.convert("LA"))
    if samples.photometric == _COLOURS_OF_A_TABLE and image.mode in ("P", "PA"):
        _fit_palette(image, samples.palette)
    return plain(image)


def _grey(image: Image.Image, samples: Samples) -> Image.Image:
    """More than 8 bits: (H, W) of 0..1, scaled to 0..255."""
    values = np.asarray(image)
    if image.mode == "F":
        shares = _shares(values, samples.range)
    else:
        if image.mode == "I":
            values = values.view(np.uint32)  # as which Pillow has read them
        shares = values / np.float64((1 << samples.bits) - 1)
    if samples.photometric == _WHITE_IS_ZERO:
        shares = 1 - shares
    return Image.fromarray(np.rint(shares * 255).astype(np.uint8)).convert("RGB")


def _shares(values: np.ndarray, told: tuple[float, float] | None) -> np.ndarray:
    """Real samples as shares of white."""
    if not np.isfinite(values).all():
        raise ValueError("the TIFF holds samples that are NaN or infinite")
    lowest, highest = float(values.min()), float(values.max())
    low, high = told or (0.0, 1.0)
    slack = OVERSHOOT * (high - low)
    if lowest < low - slack or highest > high + slack:
        raise ValueError(
            f"the real samples of the TIFF go from {lowest:g} to {highest:g}: what is white is not known"
        )
    shares: np.ndarray = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return shares


def _fit_palette(image: Image.Image, entries: tuple[int, ...]) -> None:
    """Corrects the colours of writers that give them in 8 bits, not 16, which would all be black.

    Source: ``checkcmap`` of libtiff's tools, which takes a table for one of 8 bits where no value is above 255.
    """
    if entries and max(entries) < 256:
        count = len(entries) // 3
        red, green, blue = (entries[at * count : (at + 1) * count] for at in range(3))
        image.putpalette(
            [value for colour in zip(red, green, blue, strict=True) for value in colour]
        )
