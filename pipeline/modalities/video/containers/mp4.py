"""MP4 and QuickTime: boxes in boxes.

Source: ISO/IEC 14496-12:2022, 4.2 (boxes), 8.4.2 (media header), 8.4.3 (handler), 8.5.2 and 12.1.3 (sample entries),
8.7.3 (sample sizes).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.modalities.content import Content
from pipeline.modalities.video.containers.header import Header, big, ends_early, name_of

MAX_BOXES = 100_000  # looked at in one box; a fragmented file has two a second or so


class _Box(NamedTuple):
    """A box: its four letters, and where its content begins and ends in the file."""

    kind: bytes
    start: int
    end: int


def read_mp4(content: Content) -> Header:
    """The tracks of an MP4 or QuickTime file."""
    header = Header()
    has_tracks = False
    for box in _boxes(content, 0, content.size):
        if box.end > content.size:
            name = f"its box {name_of(memoryview(box.kind))}"
            header.problem = ends_early(name, box.end, content.size)
            return header
        if box.kind == b"moov":
            has_tracks = True
            for track in _boxes(content, box.start, box.end):
                if track.kind == b"trak":
                    _read_track(content, track, header)
    if not has_tracks:
        header.problem = "the file has no box moov, which says where its frames are"
    return header


def _boxes(content: Content, start: int, end: int) -> Iterator[_Box]:
    """The boxes between two places; the last may end beyond."""
    for _ in range(MAX_BOXES):
        head = content.read(start, 16)
        if start + 8 > end or len(head) < 8:
            return
        size, first = big(head[:4]), 8
        if size == 1:
            size, first = big(head[8:16]), 16
        elif size == 0:
            size = end - start
        if size < first:  # what is no box: padding at the end of QuickTime's user data
            return
        yield _Box(bytes(head[4:8]), start + first, start + size)
        start += size


def _read_track(content: Content, track: _Box, header: Header) -> None:
    media = {
        box.kind: box
        for outer in _boxes(content, track.start, track.end)
        if outer.kind == b"mdia"
        for box in _boxes(content, outer.start, outer.end)
    }
    handler = media.get(b"hdlr")
    kind = bytes(content.read(handler.start + 8, 4)) if handler else b""
    if kind == b"soun":
        header.has_sound = True
    elif kind == b"vide" and not header.has_video:
        header.has_video = True
        header.seconds = _seconds(content, media.get(b"mdhd"))
        if b"minf" in media:
            _read_samples(content, media[b"minf"], header)


def _seconds(content: Content, box: _Box | None) -> float:
    """Duration of a track; 0 where it is not told, as in fragmented files."""
    if box is None:
        return 0.0
    head = content.read(box.start, 32)
    if len(head) < 20:
        return 0.0
    is_wide = head[0] == 1
    scale, length = (
        (big(head[20:24]), big(head[24:32])) if is_wide else (big(head[12:16]), big(head[16:20]))
    )
    unknown = (1 << 64 if is_wide else 1 << 32) - 1
    return length / scale if scale and length != unknown else 0.0


def _read_samples(content: Content, media: _Box, header: Header) -> None:
    tables = {
        box.kind: box
        for outer in _boxes(content, media.start, media.end)
        if outer.kind == b"stbl"
        for box in _boxes(content, outer.start, outer.end)
    }
    if b"stsd" in tables:
        entry = content.read(tables[b"stsd"].start + 8, 36)
        if len(entry) == 36:
            header.codec = name_of(entry[4:8])
            header.width, header.height = big(entry[32:34]), big(entry[34:36])
    if b"stsz" in tables:
        header.frames = big(content.read(tables[b"stsz"].start + 8, 4))
