"""What the segments before a JPEG's pixels say: how the image is turned, and in how many scans it comes.

Source: ITU-T T.81, B.1 and B.2; Exif 2.32, 4.5.4 and 4.6.4.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

START_OF_SCAN = 0xDA
_APP1, _RESTART_INTERVAL = 0xE1, 0xDD
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_OF_IMAGE = 0xD9
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_SCAN = re.compile(rb"\xff\xda")
_ORIENTATION, _NUMBERS = 274, {3: "H", 4: "L"}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


class Segment(NamedTuple):
    """A marker and what belongs to it.

    Attributes:
        marker: Its second byte.
        start: Offset of its first.
        end: Offset just after what belongs to it.
    """

    marker: int
    start: int
    end: int


class Head(NamedTuple):
    """The segments up to the first scan's header, as far as they can be read.

    Attributes:
        segments: In the order of the file.
        orientation: EXIF's number for how the image is to be turned; 1 where it does not say.
        components: Of the frame; 0 where there is no frame.
        frame: Marker of the frame, which says how the pixels are coded; 0 where there is none.
        several_scans: Whether more than one scan makes the image.
        bits: Of a sample.
        factors: Of each component, how often it is sampled in a unit: across in the upper four bits, down in the lower.
        width: In pixels, as stored.
        height: As ``width``.
        restart_interval: Units between two restart markers; 0 where there are none.
    """

    segments: list[Segment]
    orientation: int = 1
    components: int = 0
    frame: int = 0
    several_scans: bool = False
    bits: int = 8
    factors: bytes = b""
    width: int = 0
    height: int = 0
    restart_interval: int = 0


def orientation(data: memoryview) -> int:
    """EXIF's number for how a JPEG is to be turned, 1 where it does not say."""
    return read_head(data).orientation


def read_head(data: memoryview) -> Head:
    """Walks the segments; bytes that belong to none are passed over, as decoders do."""
    segments: list[Segment] = []
    offset = 2
    turn = components = frame = width = height = restarts = 0
    bits, factors = 8, b""
    several = False
    while offset + 4 <= len(data):
        marker = data[offset + 1]
        if data[offset] != 0xFF or marker in (0, 0xFF):
            marker_match = _MARKER.search(data, offset)
            if marker_match is None:
                break
            offset = marker_match.start()
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without a length
            offset += 2
            continue
        length = data[offset + 2] << 8 | data[offset + 3]
        if marker == _END_OF_IMAGE or length < 2:
            break
        end = offset + 2 + length
        segments.append(Segment(marker, offset, end))
        if marker == _APP1:
            turn = turn or _turn(bytes(data[offset + 4 : end]))
        elif marker in _FRAMES and length >= 8 and end <= len(data):
            frame = marker
            bits, height, width, components = struct.unpack_from(">BHHB", data, offset + 4)
            factors = bytes(data[offset + 11 : min(end, offset + 10 + 3 * components) : 3])
        elif marker == _RESTART_INTERVAL and length >= 4:
            restarts = int.from_bytes(data[offset + 4 : offset + 6], "big")
        elif marker == START_OF_SCAN:
            in_scan = data[offset + 4 : offset + 5]
            several = frame in _PROGRESSIVE or bytes(in_scan) != bytes([components])
            break
        offset = end
    return Head(
        segments, turn or 1, components, frame, several, bits, factors, width, height, restarts
    )


def count_scans(data: memoryview, head: Head) -> int:
    """How many scans there are, by their markers."""
    start = head.segments[-1].start
    return sum(1 for _ in _SCAN.finditer(data, start))


def _turn(segment: bytes) -> int:
    """How a segment says the image is to be turned, or 0; XMP's word counts where EXIF has none."""
    if segment.startswith(_EXIF):
        return _exif_orientation(segment[len(_EXIF) :])
    if segment.startswith(_XMP) and (orientation_match := _XMP_ORIENTATION.search(segment)):
        return int(orientation_match[1])
    return 0


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
