"""AVI: chunks in lists.

Source: Microsoft, "AVI RIFF File Reference" (AVIMAINHEADER, AVISTREAMHEADER).
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.modalities.content import Content
from pipeline.modalities.video.containers.header import Header, ends_early, little, name_of

MAX_CHUNKS = 1000  # looked at in one list
_UNKNOWN = (0, 0xFFFFFFFF)  # sizes that a writer leaves which was cut short or did not go back
_HEAD = 8  # bytes of a chunk before its content: its name and its size
_LIST_HEAD = 12  # and its kind


def read_avi(content: Content) -> Header:
    """The main header of an AVI, and the kinds of its streams."""
    header = Header()
    size = little(content.read(4, 4))
    if size not in _UNKNOWN and size + _HEAD > content.size:
        header.problem = ends_early("its list RIFF", size + _HEAD, content.size)
    for kind, start, end in _chunks(content, _LIST_HEAD, content.size):
        if kind == b"LIST" and bytes(content.read(start, 4)) == b"hdrl":
            _read_headers(content, start + 4, end, header)
            return header
    header.problem = header.problem or "the AVI has no list of headers"
    return header


def _chunks(content: Content, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the chunks between two places."""
    for _ in range(MAX_CHUNKS):
        head = content.read(start, _HEAD)
        if start + _HEAD > end or len(head) < _HEAD:
            return
        size = little(head[4:8])
        yield bytes(head[:4]), start + _HEAD, start + _HEAD + size
        start += _HEAD + size + size % 2


def _read_headers(content: Content, start: int, end: int, header: Header) -> None:
    for kind, first, last in _chunks(content, start, end):
        if kind == b"avih":
            head = content.read(first, 40)
            if len(head) == 40:
                header.frames = little(head[16:20])
                header.seconds = header.frames * little(head[:4]) / 1e6
                header.width, header.height = little(head[32:36]), little(head[36:40])
        elif kind == b"LIST" and bytes(content.read(first, 4)) == b"strl":
            for name, begin, _ in _chunks(content, first + 4, last):
                if name == b"strh":
                    stream = content.read(begin, 8)
                    header.has_sound |= bytes(stream[:4]) == b"auds"
                    if bytes(stream[:4]) == b"vids":
                        header.has_video = True
                        header.codec = name_of(stream[4:8])
