"""Ogg: whether its pages are whole, and which logical streams they make. Decoders read the first of these, and stop."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.modalities.audio.containers.codings import (
    OPUS_RATE_HZ,
    opus_samples,
    vorbis_samples,
)
from pipeline.modalities.audio.containers.flac import walk_flac
from pipeline.modalities.audio.containers.layout import (
    MAX_STRETCHES,
    TRACKS,
    Layout,
    Remark,
    Stretch,
)

# Sign, version, flags, position, stream, number, checksum, segments.
_HEAD = struct.Struct("<4sBBqIIIB")
_CHECKSUM = slice(22, 26)
_PAGE = re.compile(rb"OggS\0[\x00-\x07]")
_FIRST, _LAST = 2, 4  # flags
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# Beginning of the first packet -> what it is.
_SOUNDS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
}
_FLAC_PREFIX_BYTES = 9


class Page(NamedTuple):
    """A page by its header.

    Attributes:
        flags: Whether it is the first or last of its stream.
        position: At its end, in samples.
        serial: Of its stream.
        number: In its stream.
        lacing: Sizes of the pieces of its packets.
        content: Offset of its content.
        end: Offset behind it.
    """

    flags: int
    position: int
    serial: int
    number: int
    lacing: bytes
    content: int
    end: int


@dataclass
class LogicalStream:
    """The pages of one stream.

    Attributes:
        link: Number of the chain's link that it is in.
        kind: What sound it is; None where it is none.
        pages: Offsets of their beginnings and ends.
        next_page: Number of its next page; None behind its last one.
        opening: The pages up to the first that has sound.
        last: Position at the end of the last page.
    """

    link: int
    kind: str | None
    pages: list[tuple[int, int]] = field(default_factory=list)
    next_page: int | None = None
    opening: list[Page] = field(default_factory=list)
    last: int = 0

    def add(self, offset: int, page: Page) -> None:
        """Takes in its next page, which begins at ``offset``."""
        self.pages.append((offset, page.end))
        self.next_page = None if page.flags & _LAST else page.number + 1 & 0xFFFFFFFF
        if not self.last:
            self.opening.append(page)
        if page.position > 0:
            self.last = page.position

    def samples(self, data: memoryview) -> int | None:
        """How many a decoder has to give, of each channel; None where the stream does not tell.

        Positions count from the first sample, or from anywhere where a recording begins in the middle of a broadcast.

        Source: RFC 3533, 6; Vorbis I, A.2; RFC 7845, 4 (positions are of 48 kHz).
        """
        packets = self._opening_packets(data)
        if self.kind == "Opus":
            skipped = int.from_bytes(packets[0][10:12], "little")
            begun = sum(opus_samples(packet) for packet in packets[2:])
        elif self.kind == "Vorbis":
            skipped, begun = 0, vorbis_samples(packets)
        else:
            return None
        start = max(0, self.opening[-1].position - begun)
        return max(0, self.last - start - skipped)

    def _opening_packets(self, data: memoryview) -> list[bytes]:
        """The packets that end on the opening pages."""
        packets, pieces = [], []
        for page in self.opening:
            at = page.content
            for size in page.lacing:
                pieces.append(bytes(data[at : at + size]))
                at += size
                if size < 255:
                    packets.append(b"".join(pieces))
                    pieces.clear()
        return packets


def walk_ogg(data: memoryview) -> Layout:
    """Checks the pages of every stream, and takes the streams apart: what follows one another, and what is beside it.

    Raises:
        ValueError: A page is damaged or missing, or there is no sound.

    Source: RFC 3533, 4 (chained and multiplexed streams) and 6.
    """
    streams = read_streams(data)
    sounds = [stream for stream in streams if stream.kind is not None]
    if not sounds:
        raise ValueError("the Ogg holds no sound of a known kind")
    links = dict[int, LogicalStream]()
    for stream in sounds:
        links.setdefault(stream.link, stream)
    if len(links) > MAX_STRETCHES:
        raise ValueError(f"{len(links)} streams follow one another in the Ogg")
    remark = None
    if len(sounds) > len(links):
        words = (
            f"the Ogg holds {len(sounds)} sounds, some beside others; the first of these are used"
        )
        remark = Remark(TRACKS, words)
    alone = len(streams) == 1
    layouts = [_layout(data, stream, alone=alone) for stream in links.values()]
    stretches = [stretch for layout in layouts for stretch in layout.stretches]
    return Layout(stretches, remark or layouts[-1].remark)


def _layout(data: memoryview, stream: LogicalStream, *, alone: bool) -> Layout:
    if stream.kind == "FLAC":
        return _flac(data, stream)
    if stream.kind == "Speex":
        raise ValueError("the Ogg holds Speex, which is not read")
    content = data if alone else b"".join(data[start:end] for start, end in stream.pages)
    rate = OPUS_RATE_HZ if stream.kind == "Opus" else 0
    return Layout([Stretch(content, stream.samples(data), rate)])


def _flac(data: memoryview, stream: LogicalStream) -> Layout:
    """The FLAC itself, which libsndfile reads in Ogg only where it was built for that.

    Source: RFC 9639, 10.1.
    """
    contents = (data[start + _HEAD.size + data[start + 26] : end] for start, end in stream.pages)
    layout = walk_flac(memoryview(b"".join(contents))[_FLAC_PREFIX_BYTES:])
    samples = sum(stretch.samples or 0 for stretch in layout.stretches)
    if samples < stream.last:
        raise ValueError(f"the Ogg declares {stream.last} samples and its FLAC holds {samples}")
    return layout._replace(shortened=None)


def read_streams(data: memoryview) -> Sequence[LogicalStream]:
    """Checks checksums, numbers, and a last page of each stream; what lies behind the last is left alone.

    Raises:
        ValueError: Something does not hold.
    """
    offset, link, num_open = 0, 0, 0
    streams: list[LogicalStream] = []
    by_serial: dict[int, LogicalStream] = {}
    while num_open or not offset or bytes(data[offset : offset + 4]) == b"OggS":
        page = _read_page(data, offset)
        if page.flags & _FIRST:
            link += not num_open
            stream = LogicalStream(link, _kind(data, page), next_page=page.number)
            by_serial[page.serial] = stream
            streams.append(stream)
            num_open += 1
        opened = by_serial.get(page.serial)
        if opened is None or opened.next_page != page.number:
            raise ValueError(f"Ogg pages are missing before byte {offset}")
        opened.add(offset, page)
        num_open -= opened.next_page is None
        offset = page.end
    if _PAGE.search(data, offset):
        raise ValueError(f"bytes that belong to nothing lie between Ogg pages at byte {offset}")
    return streams


def _read_page(data: memoryview, offset: int) -> Page:
    if offset + _HEAD.size > len(data):
        raise ValueError("the Ogg ends before its last page")
    sign, version, flags, position, serial, number, checksum, segments = _HEAD.unpack_from(
        data, offset
    )
    if sign != b"OggS" or version:
        raise ValueError(f"there is no Ogg page at byte {offset}")
    content = offset + _HEAD.size + segments
    lacing = bytes(data[offset + _HEAD.size : content])
    end = content + sum(lacing)
    if end > len(data) or content > len(data):
        raise ValueError("the Ogg ends inside a page")
    if page_checksum(data[offset:end]) != checksum:
        raise ValueError(f"the checksum of the Ogg page at byte {offset} does not hold")
    return Page(flags, position, serial, number, lacing, content, end)


def _kind(data: memoryview, first: Page) -> str | None:
    head = bytes(data[first.content : first.end])
    return next((kind for sign, kind in _SOUNDS.items() if head.startswith(sign)), None)


def page_checksum(page: memoryview) -> int:
    """The CRC-32 of a page, its own field as zeros.

    Ogg counts the highest bit of a byte first, and neither begins nor ends with ones. With the bits of every byte
    reversed it is the common CRC-32, but for those ones.
    """
    bits = bytes(page).translate(_BITS_REVERSED)
    value = zlib.crc32(bits[: _CHECKSUM.start], 0xFFFFFFFF)
    value = zlib.crc32(bytes(4), value)
    value = zlib.crc32(bits[_CHECKSUM.stop :], value) ^ 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "big").translate(_BITS_REVERSED), "little")
