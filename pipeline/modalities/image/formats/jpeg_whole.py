"""Whether all pixels of a JPEG are in its scans, for kinds that only Pillow decodes, which makes up what is missing.

Pillow says nothing of what libjpeg warns of. But what is whole is read to its last byte, and no further: bytes that are
put behind it change no pixel, and other bytes in the place of its last ones do.
"""

from __future__ import annotations

import importlib
import io
import math
import re
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.modalities.image.formats.jpeg_head import START_OF_SCAN, Head

# Frames that libjpeg decodes: baseline, extended, progressive, lossless; the last two with arithmetic coding.
KNOWN_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))
BITS = 8
COMPONENTS = (1, 3, 4)
LOSSLESS = 0xC3
_PROBE = b"\x55\x2a" * 32  # what is put behind; it holds no marker
_LAST_BYTES = 32  # that are put in the place of others
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_END_OF_IMAGE = 0xD9
_RESTARTS = range(0xD0, 0xD8)


class Stretch(NamedTuple):
    """Coded pixels between two markers.

    Attributes:
        start: Offset of the first byte.
        end: Offset of the marker behind.
        marker: Second byte of that.
    """

    start: int
    end: int
    marker: int


def check_kind(head: Head) -> None:
    """Checks that a JPEG is of a kind that some reader knows.

    Raises:
        ValueError: It is not; it says what it is.
    """
    frame = head.frame
    if not frame:
        raise ValueError("the JPEG has no frame")
    if frame not in KNOWN_FRAMES:
        raise ValueError(f"no reader here knows JPEGs of the frame type {frame - 0xC0}")
    if head.bits != BITS:
        raise ValueError(f"no reader here knows JPEGs of {head.bits} bits a sample")
    if head.components not in COMPONENTS:
        raise ValueError(f"no reader here knows JPEGs of {head.components} components")


def check_whole(data: memoryview, head: Head) -> None:
    """Checks that what Pillow decodes of a JPEG is what the file holds, all of it.

    Raises:
        ValueError: Pixels are missing, or there are some that belong to nothing.
    """
    stretches = _stretches(data, head)
    pixels = _decode(bytes(data))
    longer: list[bytes] = []
    last = 0
    for stretch in stretches:
        longer += [bytes(data[last : stretch.end]), _PROBE]
        last = stretch.end
    if not np.array_equal(pixels, _decode(b"".join([*longer, bytes(data[last:])]))):
        raise ValueError("the pixels of the JPEG end early")
    _check_restarts(stretches, head, pixels.shape[1], pixels.shape[0])
    if head.several_scans:
        return
    start, end, _ = stretches[-1]
    while end - 1 > start and not data[end - 1] and data[end - 2] != 0xFF:
        end -= 1  # zeros of a sloppy writer
    changed = max(start, end - _LAST_BYTES)
    probe = _PROBE[: end - changed]
    if bytes(data[changed:end]) == probe:
        return
    if np.array_equal(pixels, _decode(b"".join([data[:changed], probe, data[end:]]))):
        raise ValueError("the JPEG has bytes that belong to nothing behind its pixels")


def _stretches(data: memoryview, head: Head) -> list[Stretch]:
    """All coded pixels of the file, up to its end marker; what lies behind is left alone."""
    stretches: list[Stretch] = []
    if not head.segments or head.segments[-1].marker != START_OF_SCAN:
        raise ValueError("the JPEG has no scan")
    offset, coded = head.segments[-1].end, True
    while (next_marker := _MARKER.search(data, offset)) is not None:
        place, marker = next_marker.start(), data[next_marker.start() + 1]
        if coded:
            stretches.append(Stretch(offset, place, marker))
        if marker == _END_OF_IMAGE:
            return stretches
        coded = marker == START_OF_SCAN or marker in _RESTARTS
        offset = place + 2
        if marker not in _RESTARTS:
            offset += int.from_bytes(data[offset : offset + 2], "big")
    raise ValueError("the JPEG ends before its end marker")


def _check_restarts(stretches: list[Stretch], head: Head, width: int, height: int) -> None:
    """Checks that no stretch between two restart markers is missing."""
    if not head.restart_interval or head.several_scans or head.frame == LOSSLESS:
        return
    across = max(factor >> 4 for factor in head.factors)
    down = max(factor & 15 for factor in head.factors)
    if head.components == 1:
        across = down = 1
    units = math.ceil(width / (8 * across)) * math.ceil(height / (8 * down))
    if len(stretches) != math.ceil(units / head.restart_interval):
        raise ValueError(f"the JPEG has {len(stretches)} stretches between its restart markers")


def _decode(data: bytes) -> np.ndarray:
    importlib.import_module("PIL.JpegImagePlugin")
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.array(image)
