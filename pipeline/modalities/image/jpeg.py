"""JPEG bytes -> pixels, at a half, a quarter or an eighth of the size where that is enough."""

from __future__ import annotations

import re
import struct

import numpy as np
import simplejpeg

from pipeline.errors import SampleError
from pipeline.modalities.image.resize import Picture

OVERSAMPLING = 1.5  # times the pixels that are wanted, each way, a scaled decoding keeps at least
FACTORS = (8, 4, 2)  # others are not faster than decoding every pixel
# What libjpeg says where it made pixels up. Its other warnings are of sloppy writers, and Pillow judges those.
MADE_UP = (
    "bad Huffman code",
    "bad arithmetic code",
    "premature end",
    "Premature end",
    "found marker",
    "Inconsistent progression",
)
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_ORIENTATION, _NUMBERS = 274, {3: "H", 4: "L"}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def is_jpeg(data: memoryview) -> bool:
    """Whether the bytes begin as those of a JPEG do."""
    return bytes(data[:3]) == b"\xff\xd8\xff"


def decode_jpeg(data: memoryview, field: str, size: int, max_pixels: int) -> Picture | None:
    """Decodes a JPEG to no fewer pixels than ``size`` by ``size`` need.

    Returns:
        None where this reader does not know the kind (CMYK, 12 bits) or is not sure of the file.

    Raises:
        SampleError: Damaged, ending early, or over the limit of pixels.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_pixels(width, height, max_pixels, field)
        if colours not in ("YCbCr", "RGB", "Gray"):
            return None
        wanted = OVERSAMPLING * size
        factor = next((f for f in FACTORS if min(width, height) >= f * wanted), 1)
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            data, "RGB", min_height=-(-height // factor), min_width=-(-width // factor)
        )
    except ValueError as error:
        if any(warning in str(error) for warning in MADE_UP):
            what = f"the image cannot be decoded: {error}"
            raise SampleError(what[:200], reason="bad_image", field=field) from None
        return None
    return Picture(pixels, width, height, factor, orientation(data))


def check_pixels(width: int, height: int, max_pixels: int, field: str) -> None:
    """Refuses an image whose header declares too many pixels.

    Raises:
        SampleError: Over the limit.
    """
    if width * height > max_pixels:
        what = f"the image declares {width} x {height} pixels, over the limit of {max_pixels}"
        raise SampleError(what, reason="too_large", field=field)


def orientation(data: memoryview) -> int:
    """EXIF's number for how a JPEG is to be turned, 1 where it does not say.

    Source: ITU-T T.81, B.1.1.4; Exif 2.32, 4.5.4 and 4.6.4; XMP's ``tiff:Orientation`` counts where EXIF has none.
    """
    found, offset = 0, 2
    while offset + 4 <= len(data) and data[offset] == 0xFF and data[offset + 1] != _START_OF_SCAN:
        marker, length = data[offset + 1], data[offset + 2] << 8 | data[offset + 3]
        if marker == 0xFF:  # filled up
            offset += 1
            continue
        if marker == _APP1:
            segment = bytes(data[offset + 4 : offset + 2 + length])
            if segment.startswith(_EXIF):
                found = found or _exif_orientation(segment[len(_EXIF) :])
            elif segment.startswith(_XMP) and (said := _XMP_ORIENTATION.search(segment)):
                found = found or int(said[1])
        offset += 2 + length
    return found or 1


def _exif_orientation(tiff: bytes) -> int:
    """The first directory's tag 274, or 0."""
    order = "<" if tiff[:2] == b"II" else ">"
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return 0
    try:
        (directory,) = struct.unpack_from(order + "L", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(order + "HHL4s", tiff, entry)
            if tag == _ORIENTATION and kind in _NUMBERS and values == 1:
                return int(struct.unpack_from(order + _NUMBERS[kind], value)[0])
    except struct.error:  # cut short
        pass
    return 0
