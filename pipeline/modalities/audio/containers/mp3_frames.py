"""The frames of MPEG audio: whether they follow each other to the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
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
# Frames that follow one another by chance do not follow so many times.
_FRAMES_IN_A_ROW = 4


class Kind(NamedTuple):
    """What does not change from frame to frame: the bits of version and layer, and of the rate."""

    version_and_layer: int
    rate: int

    @property
    def layer(self) -> int:
        """1, 2 or 3."""
        return 4 - (self.version_and_layer >> 1 & 3)

    @property
    def mpeg1(self) -> bool:
        """Whether it is MPEG 1, not 2 or 2.5."""
        return self.version_and_layer >> 3 & 3 == 3

    @property
    def rate_hz(self) -> int:
        """Samples a second."""
        return _RATES_HZ[self.rate >> 2] >> _HALVINGS[self.version_and_layer >> 3 & 3]

    @property
    def samples(self) -> int:
        """Of a frame."""
        return 384 if self.layer == 1 else 576 if self.layer == 3 and not self.mpeg1 else 1152


class Frames(NamedTuple):
    """The frames of a file.

    Attributes:
        kind: Of all of them.
        starts: Their offsets.
        end: Offset behind the last whole one.
        breaks: Numbers of those whose channels are others than those of the one before.
        gaps: Numbers of those that do not follow the one before at once, since a tag lies between.
        cut: Bytes that are there of one that is cut short at the end.
    """

    kind: Kind
    starts: Sequence[int]
    end: int
    breaks: Sequence[int]
    gaps: Sequence[int]
    cut: int


def walk_frames(data: memoryview) -> Frames:
    """Finds all frames.

    Raises:
        ValueError: There is none, or something lies between two.
    """
    first = _first_frame(data, after_id3(data))
    kind = _kind(data, first)
    sizes = _sizes(kind)
    code = kind.version_and_layer
    starts: list[int] = []
    breaks: list[int] = []
    gaps: list[int] = []
    offset = end = first
    cut, mode = 0, data[first + 3] >> 6 == 3
    last = len(data) - 4
    while offset <= last:
        size = (
            sizes[data[offset + 2]]
            if data[offset] == 0xFF and data[offset + 1] & 0xFE == code
            else 0
        )
        if size:
            if offset + size > len(data):
                cut = len(data) - offset
                break
            if offset != end:
                gaps.append(len(starts))
            if mode != (data[offset + 3] >> 6 == 3):
                breaks.append(len(starts))
                mode = not mode
            starts.append(offset)
            offset = end = offset + size
            continue
        behind = _after_tag(data, _after_zeros(data, offset))
        if behind == offset:
            break
        if not data[offset] and _frame_bytes(data, behind, kind):
            raise ValueError(f"zeros follow the frame {len(starts)} of the MPEG audio")
        offset = behind
    if not cut and offset < len(data):
        cut = _check_rest(data, offset, kind, len(starts))
    if not starts:
        raise ValueError("the MPEG audio ends inside its first frame")
    return Frames(kind, starts, end, breaks, gaps, cut)


def after_id3(data: memoryview, start: int = 0) -> int:
    """Offset behind the ID3v2 tags that begin at ``start``, if any do."""
    while bytes(data[start : start + 3]) == b"ID3" and start + 10 <= len(data):
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        footer = 10 if data[start + 5] & 0x10 else 0
        start += 10 + size + footer
    return start


def frame_bytes(data: memoryview, number: int, frames: Frames) -> int:
    """Length of one of the frames."""
    return _sizes(frames.kind)[data[frames.starts[number] + 2]]


def _first_frame(data: memoryview, start: int) -> int:
    """Offset of the first frame: one that another follows, or with which the file ends."""
    start = _after_zeros(data, start)  # padding of a tag
    limit = min(len(data), start + MAX_LEADING_BYTES)
    for sync in _SYNC.finditer(data, start, limit):
        offset = sync.start()
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
    return _sizes(kind)[data[offset + 2]]


@cache
def _sizes(kind: Kind) -> Sequence[int]:
    """The length of a frame by its third byte; 0 where no frame of this kind has that."""
    return [_size(third, kind) for third in range(256)]


def _size(third: int, kind: Kind) -> int:
    bits, place, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
    version, layer = kind[0] >> 3 & 3, 4 - (kind[0] >> 1 & 3)
    if third & 0x0C != kind[1] or kind[0] & 0xE0 != 0xE0:
        return 0
    if bits in (0, 15) or place == 3 or version == 1 or layer == 4:
        return 0
    bit_rate = _KBITS[version == 3, layer][bits] * 1000
    if layer == 1:
        return (12 * bit_rate // kind.rate_hz + padding) * 4
    return kind.samples // 8 * bit_rate // kind.rate_hz + padding


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
        lyrics = _END_OF_LYRICS.search(data, offset)
        return lyrics.end() if lyrics else offset
    return offset


def _after_zeros(data: memoryview, offset: int) -> int:
    zeros = _ZEROS.match(data, offset)
    return zeros.end() if zeros else offset


def _check_rest(data: memoryview, offset: int, kind: Kind, frames: int) -> int:
    """Looks at what lies behind the last frame: whether more frames do.

    Returns:
        Bytes of the beginning of a frame.
    """
    if offset + 4 > len(data):
        return len(data) - offset if data[offset] == 0xFF else 0
    for sync in _SYNC.finditer(data, offset):
        start = sync.start()
        next_kind = _kind(data, start)
        size = _frame_bytes(data, start, kind)
        behind = start + size
        if size and (behind >= len(data) or _frame_bytes(data, behind, kind)):
            raise ValueError(
                f"bytes that belong to nothing follow the frame {frames} of the MPEG audio"
            )
        if next_kind != kind and _in_a_row(data, start, next_kind):
            raise ValueError(
                f"the MPEG audio goes on behind its frame {frames} in another layer or at another rate"
            )
    return 0


def _in_a_row(data: memoryview, offset: int, kind: Kind) -> bool:
    for _ in range(_FRAMES_IN_A_ROW):
        size = _frame_bytes(data, offset, kind)
        if not size:
            return False
        offset += size
    return offset <= len(data)
