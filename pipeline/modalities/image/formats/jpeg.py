"""JPEG bytes -> pixels, at a half, a quarter or an eighth of the size where that is enough."""

from __future__ import annotations

import numpy as np
import simplejpeg

from pipeline.errors import SampleError
from pipeline.limits import beyond, rounded_up
from pipeline.modalities.decoding.foreign import RAISED, refusal
from pipeline.modalities.image.formats.jpeg_head import Head, count_scans, orientation, read_head
from pipeline.modalities.image.formats.jpeg_scans import MADE_UP, check_scans
from pipeline.modalities.image.formats.jpeg_whole import LOSSLESS, check_kind, check_whole
from pipeline.modalities.image.resize import Picture

OVERSAMPLING = 1.5  # times the pixels that are wanted, each way, a scaled decoding keeps at least
COLOURS = 3  # components; where there are more, they are inks
FACTORS = (8, 4, 2)  # others are not faster than decoding every pixel
MAX_SCANS = 100  # unless modalities.image.max_scans says otherwise
MAX_MEGAPIXELS = "modalities.image.max_megapixels"

__all__ = [
    "FACTORS",
    "OVERSAMPLING",
    "check_pixels",
    "decode_jpeg",
    "is_jpeg",
    "orientation",
    "too_many_pixels",
]


def is_jpeg(data: memoryview) -> bool:
    """Whether the bytes begin as those of a JPEG do."""
    return bytes(data[:3]) == b"\xff\xd8\xff"


def decode_jpeg(
    data: memoryview, field: str, size: int, max_pixels: int, max_scans: int = MAX_SCANS
) -> Picture | None:
    """Decodes a JPEG to no fewer pixels than ``size`` by ``size`` need.

    Returns:
        None where this reader does not know the kind (CMYK, samples in odd proportions), or the file is sloppy, but
        whole: then Pillow decodes it.

    Raises:
        SampleError: Damaged, ending early, or over the limit of pixels or scans.
        ValueError: Of a kind that no reader knows, or damaged and of one that only Pillow knows.
    """
    head = read_head(data)
    check_kind(head)
    width, height = head.width, head.height
    check_pixels(width, height, max_pixels, field)
    _check_count(data, head, max_scans, field)
    if head.frame == LOSSLESS:  # simplejpeg writes beside its memory
        check_whole(data, head)
        return None
    if head.components > COLOURS:
        check_scans(data, head, field)
        return None
    enough = OVERSAMPLING * size
    factor = next((f for f in FACTORS if min(width, height) >= f * enough), 1)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            data, "RGB", min_height=-(-height // factor), min_width=-(-width // factor)
        )
    except RAISED as error:
        if any(warning in str(error) for warning in MADE_UP):
            raise refusal(error, "bad_image", field, "the image") from None
        check_scans(data, head, field)
        return None
    return Picture(pixels, width, height, factor, head.orientation)


def check_pixels(width: int, height: int, max_pixels: int, field: str) -> None:
    """Refuses an image whose header declares too many pixels, or none.

    Raises:
        SampleError: It does.
    """
    if width * height > max_pixels:
        raise too_many_pixels(width, height, max_pixels, field)
    if width < 1 or height < 1:
        what = f"the image declares {width} x {height} pixels"
        raise SampleError(what, reason="bad_image", field=field)


def too_many_pixels(width: int, height: int, max_pixels: int, field: str) -> SampleError:
    """The fault of an image whose header declares too many pixels."""
    what = f"the image declares {width} x {height} pixels"
    needed = rounded_up(width * height / 1e6)
    return beyond(what, setting=MAX_MEGAPIXELS, limit=max_pixels / 1e6, needed=needed, field=field)


def _check_count(data: memoryview, head: Head, max_scans: int, field: str) -> None:
    scans = count_scans(data, head) if head.several_scans else 1
    if scans > max_scans:
        what, setting = f"the image has {scans} scans", "modalities.image.max_scans"
        raise beyond(what, setting=setting, limit=max_scans, needed=scans, field=field)
