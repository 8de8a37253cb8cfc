"""MPEG audio: whether its frames follow each other to the end. Decoders skip what they cannot read."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LEADING_BYTES = 8192  # of something else before the first frame
_KBITS = {  # by MPEG 1 or later, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = (44_100, 48_000, 32_000)
_HALVINGS = {3: 0, 2: 1, 0: 2}  # of the rate, by the version's bits: MPEG 1, 2 and 2.5
_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff]")
_ZEROS, _END_OF_LYRICS = re.compile(rb"\0+"), re.compile(rb"LYRICS200|LYRICSEND")
_COUNTS_ITSELF_NOT = (
    b"LAME",
    b"Lavf",
    b"Lavc",
    b"GOGO",
)  # writers whose count leaves the tag's own frame out


class Kind(NamedTuple):
    """What does not change from frame to frame: the bits of version and layer, and of the rate."""

    version_and_layer: int
    rate: int


def check_mp3(data: memoryview) -> None:
    """Walks the frames. Tags before and behind them are left alone, and so is what holds no frame behind the last.

    Raises:
        ValueError: A frame is cut, something lies between frames, or there are fewer than the first one's tag says.

    Source: ISO/IEC 11172-3, 2.4.1 and 2.4.2.3; ISO/IEC 13818-3; the Xing and LAME tags.
    """
    first = _first_frame(data, after_id3(data))
    kind = _kind(data, first)
    offset, frames = first, 0
    while offset < len(data):
        size = _frame_bytes(data, offset, kind)
        if size:
            if offset + size > len(data):
                raise ValueError(f"the MPEG audio ends inside its frame {frames}")
            offset, frames = offset + size, frames + 1
            continue
        behind = _after_tag(data, _after_zeros(data, offset))
        if behind == offset:
            break
        if not data[offset] and _frame_bytes(data, behind, kind):
            raise ValueError(f"zeros follow the frame {frames} of the MPEG audio")
        offset = behind
    _check_count(data, first, frames)
    if offset < len(data):
        _check_rest(data, offset, kind, frames)


def after_id3(data: memoryview, start: int = 0) -> int:
    """Offset behind the ID3v2 tags that begin at ``start``, if any do."""
    while bytes(data[start : start + 3]) == b"ID3" and start + 10 <= len(data):
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        footer = 10 if data[start + 5] & 0x10 else 0
        start += 10 + size + footer
    return start


def _first_frame(data: memoryview, start: int) -> int:
    """Offset of the first frame: one that another follows, or with which the file ends."""
    start = _after_zeros(data, start)  # padding of a tag
    limit = min(len(data), start + MAX_LEADING_BYTES)
    for found in _SYNC.finditer(data, start, limit):
        offset = found.start()
        kind = _kind(data, offset)
        size = _frame_bytes(data, offset, kind)
        if not size:
            continue
        behind = offset + size
        if offset == start or behind == len(data) or _frame_bytes(data, behind, kind):
            return offset
    raise ValueError("there is no frame of MPEG audio")


def _kind(data: memoryview, offset: int) -> Kind:
    if offset + 4 > len(data):
        return Kind(-1, -1)
    return Kind(data[offset + 1] & 0xFE, data[offset + 2] & 0x0C)


def _frame_bytes(data: memoryview, offset: int, kind: Kind) -> int:
    """Length of the frame of this kind that begins here; 0 where none does."""
    if offset + 4 > len(data) or data[offset] != 0xFF or data[offset + 1] & 0xFE != kind[0]:
        return 0
    third = data[offset + 2]
    bits, place, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
    version, layer = kind[0] >> 3 & 3, 4 - (kind[0] >> 1 & 3)
    if third & 0x0C != kind[1] or kind[0] & 0xE0 != 0xE0:
        return 0
    if bits in (0, 15) or place == 3 or version == 1 or layer == 4:
        return 0
    bit_rate = _KBITS[version == 3, layer][bits] * 1000
    rate = _RATES_HZ[place] >> _HALVINGS[version]
    if layer == 1:
        return (12 * bit_rate // rate + padding) * 4
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bit_rate // rate + padding


def _after_tag(data: memoryview, offset: int) -> int:
    """Offset behind a tag that begins here; the same offset where none does."""
    head = bytes(data[offset : offset + 32])
    if head.startswith(b"ID3"):
        return after_id3(data, offset)
    if head.startswith(b"TAG+"):
        return offset + 227
    if head.startswith(b"TAG"):
        return offset + 128
    if head.startswith(b"APETAGEX"):
        size = int.from_bytes(head[12:16], "little")
        return offset + size + 32 if size < len(data) else offset
    if head.startswith(b"LYRICSBEGIN"):
        found = _END_OF_LYRICS.search(data, offset)
        return found.end() if found else offset
    return offset


def _after_zeros(data: memoryview, offset: int) -> int:
    found = _ZEROS.match(data, offset)
    return found.end() if found else offset


def _check_count(data: memoryview, first: int, frames: int) -> None:
    """Holds the count of frames in the first one's tag against those that are there."""
    size = _frame_bytes(data, first, _kind(data, first))
    frame = bytes(data[first : first + size])
    mpeg1, mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    tag = frame[4 + side :]
    if tag[:4] in (b"Xing", b"Info") and len(tag) >= 12 and tag[7] & 1:
        declared = int.from_bytes(tag[8:12], "big")
    elif frame[36:40] == b"VBRI" and len(frame) >= 54:
        declared = int.from_bytes(frame[50:54], "big")
    else:
        return
    there = frames - 1 if any(name in tag for name in _COUNTS_ITSELF_NOT) else frames
    if declared > there:
        raise ValueError(f"the MPEG audio declares {declared} frames and holds {there}")


def _check_rest(data: memoryview, offset: int, kind: Kind, frames: int) -> None:
    """Looks at what lies behind the last frame: whether more frames do, or the beginning of one."""
    if offset + 4 > len(data) and data[offset] == 0xFF:
        raise ValueError(f"the MPEG audio ends inside its frame {frames}")
    for found in _SYNC.finditer(data, offset):
        size = _frame_bytes(data, found.start(), kind)
        behind = found.start() + size
        if size and (behind >= len(data) or _frame_bytes(data, behind, kind)):
            raise ValueError(
                f"bytes that belong to nothing follow the frame {frames} of the MPEG audio"
            )
