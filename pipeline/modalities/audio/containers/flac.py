"""FLAC: what its header and its last frame say of the whole sound, and whether that holds."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import NamedTuple

import numpy as np

from pipeline.modalities.audio.containers.layout import (
    CUT_END,
    MAX_STRETCHES,
    MISSING_SHARE,
    Layout,
    Remark,
    Stretch,
    patched,
)

_BITS = (8, 16, 24)
# The first block is always the header; behind the sound, one that begins is another sound.
_ANOTHER = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_INFO_BYTES = 42
_TAG_BYTES = 4096  # that may follow the last frame
_MAX_CHANNELS, _MAX_FRAME_HEADER = 8, 16


class StreamInfo(NamedTuple):
    """What the header says.

    Attributes:
        rate_hz: Samples a second.
        bits: Of a sample.
        samples: Of each channel; 0 where the writer did not know.
        digest: MD5 of all samples; zeros where the writer did not say.
        block: Samples of the largest frame.
        frame_bytes: Of the largest frame; 0 where the writer did not know.
    """

    rate_hz: int
    bits: int
    samples: int
    digest: bytes
    block: int
    frame_bytes: int


class Frame(NamedTuple):
    """A frame by its header.

    Attributes:
        offset: Where it begins.
        first: Number of its first sample.
        samples: How many of each channel.
    """

    offset: int
    first: int
    samples: int


def read_stream_info(data: memoryview) -> StreamInfo | None:
    """Reads the header of a FLAC; None where there is none.

    Source: RFC 9639, 8.2.
    """
    if len(data) < _INFO_BYTES or bytes(data[:4]) != b"fLaC" or data[4] & 0x7F:
        return None
    packed = int.from_bytes(data[18:26], "big")
    bits = 1 + (packed >> 36 & 31)
    block, frame_bytes = (int.from_bytes(data[a:b], "big") for a, b in ((10, 12), (15, 18)))
    samples = packed & ((1 << 36) - 1)
    return StreamInfo(packed >> 44, bits, samples, bytes(data[26:42]), block, frame_bytes)


def walk_flac(data: memoryview) -> Layout:
    """Holds the length in the header against the last frame; what the header does not tell, that frame does.

    Raises:
        ValueError: They do not fit.

    Source: RFC 9639, 8.2 (a total of 0 samples is unknown) and 9.1.
    """
    starts = [0, *(beginning.start() for beginning in _ANOTHER.finditer(data, _first_frame(data)))]
    if len(starts) > MAX_STRETCHES:
        raise ValueError(f"{len(starts)} sounds follow one another in the FLAC")
    layouts = [
        _walk_one(data[start:end])
        for start, end in zip(starts, [*starts[1:], len(data)], strict=True)
    ]
    if len(layouts) == 1:
        return layouts[0]
    stretches = [stretch for layout in layouts for stretch in layout.stretches]
    remark = next((layout.remark for layout in layouts if layout.remark), None)
    return Layout(stretches, remark)


def _walk_one(data: memoryview) -> Layout:
    info = read_stream_info(data)
    if info is None:
        return Layout([Stretch(data)])
    last = last_frame(data, info)
    if last is None:
        if not info.samples:
            raise ValueError("the FLAC does not tell its length, and no last frame is found")
        return Layout([Stretch(data, info.samples, info=info)])
    end = last.first + last.samples
    if not info.samples:
        mended = _with_samples(data, info, end)
        remark = Remark(CUT_END, f"the FLAC ends inside its last frame, of {last.samples} samples")
        return Layout([mended], shortened=partial(_without, data, info, last, remark))
    words = f"the FLAC declares {info.samples} samples and its frames hold"
    if end > info.samples or info.samples - end > info.samples * MISSING_SHARE:
        # What holds the length of the header, the decoder's errors say better.
        raise ValueError(f"{words} {end}")
    if end < info.samples:
        mended = _with_samples(data, info._replace(digest=bytes(16)), end)
        layout = Layout([mended], Remark(CUT_END, f"{words} {end}"))
    else:
        layout = Layout([Stretch(data, info.samples, info=info)])
    if info.samples - last.first > info.samples * MISSING_SHARE:
        return layout
    remark = Remark(CUT_END, f"{words} {last.first} and a piece of one")
    return layout._replace(shortened=partial(_without, data, info, last, remark))


def _without(data: memoryview, info: StreamInfo, last: Frame, remark: Remark) -> Layout:
    """The sound without its last frame, whose digest is that of more."""
    if not last.first:
        raise ValueError("the FLAC ends inside its first frame")
    bare = info._replace(digest=bytes(16))
    return Layout([_with_samples(data[: last.offset], bare, last.first)], remark)


def _with_samples(data: memoryview, info: StreamInfo, samples: int) -> Stretch:
    """The sound with another number of samples in its header."""
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
    content = patched(data, 18, packed.to_bytes(8, "big"))
    return Stretch(content, samples, info=info._replace(samples=samples))


def last_frame(data: memoryview, info: StreamInfo) -> Frame | None:
    """Finds the last header of a frame by its synchronisation code and checksum.

    Args:
        data: A FLAC.
        info: Its header.

    Source: RFC 9639, 9.1.
    """
    first = _first_frame(data)
    model = bytes(data[first : first + 4])
    if len(model) < 4 or _SYNC.match(model) is None:
        return None
    opening = _read_frame(data, first, model, 0)
    if opening is None:
        return None
    largest = info.frame_bytes or info.block * _MAX_CHANNELS * (info.bits + 1) // 8
    reach = largest + _MAX_FRAME_HEADER + _TAG_BYTES
    places = [sync.start() for sync in _SYNC.finditer(data, max(first, len(data) - reach))]
    frames = (_read_frame(data, place, model, opening.samples) for place in reversed(places))
    return next((frame for frame in frames if frame is not None), None)


def _first_frame(data: memoryview) -> int:
    """Offset behind the blocks of metadata."""
    offset = 4
    while offset + 4 <= len(data):
        last = data[offset] >> 7
        offset += 4 + int.from_bytes(data[offset + 1 : offset + 4], "big")
        if last:
            break
    return offset


def _read_frame(data: memoryview, offset: int, model: bytes, block: int) -> Frame | None:
    """The frame that begins at ``offset``, of the same kind as the first; None where none does.

    Args:
        data: The FLAC.
        offset: Where it may begin.
        model: The beginning of the first frame.
        block: Samples of the first frame, by which frames of one size are numbered.
    """
    head = bytes(data[offset : offset + _MAX_FRAME_HEADER])
    if len(head) < 6 or head[:2] != model[:2] or head[2] & 0x0F != model[2] & 0x0F:
        return None
    if head[3] & 0x0F != model[3] & 0x0F:  # bits of a sample
        return None
    number, at = _coded_number(head, 4)
    code, rate = head[2] >> 4, head[2] & 0x0F
    if number is None or not code:
        return None
    samples, wide = _block_samples(code, head[at : at + 2])
    at += wide + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if at >= len(head) or crc8(head[:at]) != head[at]:
        return None
    return Frame(offset, number if head[1] & 1 else number * block, samples)


def _block_samples(code: int, stored: bytes) -> tuple[int, int]:
    """Samples of a frame by their code, and bytes of the header that they take."""
    if code == 1:
        return 192, 0
    if code <= 5:
        return 144 << code, 0
    if code == 6:
        return 1 + int.from_bytes(stored[:1], "big"), 1
    if code == 7:
        return 1 + int.from_bytes(stored, "big"), 2
    return 1 << code, 0


def _coded_number(head: bytes, at: int) -> tuple[int | None, int]:
    """A number that is coded as UTF-8 codes characters, up to 36 bits; and the offset behind it."""
    first = head[at]
    if first < 0x80:
        return first, at + 1
    extra = next((bits for bits in range(1, 7) if not first << bits & 0x40), 0)
    extra_bytes = head[at + 1 : at + 1 + extra]
    if not first & 0x40 or first == 0xFF or len(extra_bytes) < extra:
        return None, at
    number = first & (0x3F >> extra)
    for byte in extra_bytes:
        if byte >> 6 != 2:
            return None, at
        number = number << 6 | byte & 0x3F
    return number, at + 1 + extra


def crc8(data: bytes) -> int:
    """The checksum of a frame's header: polynomial x^8 + x^2 + x + 1, from 0.

    Source: RFC 9639, 9.1.8.
    """
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value


class Digest:
    """The MD5 of samples as FLAC counts it: little-endian, in as few bytes as they need.

    Args:
        info: The header.
    """

    def __init__(self, info: StreamInfo) -> None:
        self._bits = info.bits
        self._expected = info.digest if any(info.digest) and info.bits in _BITS else None
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def dtype(self) -> str:
        """The type in which samples are to be decoded, and given to :meth:`add`."""
        return "int32" if self._bits > 16 else "int16"

    def add(self, samples: np.ndarray) -> None:
        """Takes in the next samples.

        Args:
            samples: (T, channels) of :attr:`dtype`, scaled to its range.
        """
        if self._expected is None:
            return
        if self._bits == 16:
            raw = samples.astype("<i2", copy=False)
        elif self._bits == 8:
            raw = (samples >> 8).astype(np.int8)
        else:  # the top three bytes of four
            raw = samples.astype("<i4", copy=False).view(np.uint8).reshape(-1, 4)[:, 1:]
        self._md5.update(np.ascontiguousarray(raw).data)

    def check(self) -> None:
        """Says whether all samples were those that the writer had.

        Raises:
            ValueError: They were not.
        """
        if self._expected is not None and self._md5.digest() != self._expected:
            raise ValueError("the checksum of the FLAC's samples does not hold")
