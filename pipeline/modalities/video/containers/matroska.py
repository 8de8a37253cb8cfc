"""Matroska and WebM: elements in elements.

Source: RFC 8794, 4 (variable-size numbers) and 6 (unknown sizes); RFC 9559, 5 (Matroska's elements).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.modalities.content import Content
from pipeline.modalities.video.containers.header import Header, big, ends_early

MAX_ELEMENTS = 10_000  # looked at in one element
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_INFO, _TIMESTAMP_SCALE, _DURATION = 0x1549A966, 0x2AD7B1, 0x4489
_TRACKS, _TRACK, _TYPE, _CODEC = 0x1654AE6B, 0xAE, 0x83, 0x86
_VIDEO, _WIDTH, _HEIGHT = 0xE0, 0xB0, 0xBA
_OF_PICTURES, _OF_SOUND = 1, 2
_NANOSECONDS = 1_000_000  # of a tick, unless told


class _Element(NamedTuple):
    """An element: its name, and where its content begins and ends; None where its size is not known."""

    name: int
    start: int
    end: int | None


def read_matroska(content: Content) -> Header:
    """Length and tracks of a Matroska file; its clusters are not looked at."""
    header = Header()
    for element in _elements(content, 0, content.size):
        if element.name != _SEGMENT:
            continue
        if element.end is not None and element.end > content.size:
            header.problem = ends_early("its segment", element.end, content.size)
        for part in _elements(content, element.start, element.end or content.size):
            if part.end is None or part.name == _CLUSTER:
                break
            if part.name == _INFO:
                header.seconds = _seconds(content, part)
            elif part.name == _TRACKS:
                for track in _elements(content, part.start, part.end):
                    if track.name == _TRACK and track.end is not None:
                        _read_track(content, track, header)
        return header
    header.problem = "the file has no segment"
    return header


def _elements(content: Content, start: int, end: int) -> Iterator[_Element]:
    """The elements between two places; the last may end beyond, and goes on for ever where its size is not known."""
    for _ in range(MAX_ELEMENTS):
        head = content.read(start, 12)
        if start >= end or len(head) < 2:
            return
        name, name_bytes = _number(head, marked=True)
        size, size_bytes = _number(head[name_bytes:], marked=False)
        if not name_bytes or not size_bytes:
            return
        first = start + name_bytes + size_bytes
        if size == (1 << 7 * size_bytes) - 1:
            yield _Element(name, first, None)
            return
        yield _Element(name, first, first + size)
        start = first + size


def _number(data: memoryview, *, marked: bool) -> tuple[int, int]:
    """A number of 1 to 8 bytes, and how many those are; 0 where there is none. ``marked`` keeps the length's bit."""
    length = 9 - data[0].bit_length() if len(data) and data[0] else 0
    if not length or len(data) < length:
        return 0, 0
    value = big(data[:length])
    return (value if marked else value & ((1 << 7 * length) - 1)), length


def _values(content: Content, element: _Element) -> dict[int, memoryview]:
    """The content of small elements in another, by their names."""
    return {
        inner.name: content.read(inner.start, inner.end - inner.start)
        for inner in _elements(content, element.start, element.end or 0)
        if inner.end is not None and inner.end - inner.start <= 64
    }


def _seconds(content: Content, info: _Element) -> float:
    values = _values(content, info)
    ticks = values.get(_DURATION)
    if ticks is None or len(ticks) not in (4, 8):
        return 0.0
    scale = big(values[_TIMESTAMP_SCALE]) if _TIMESTAMP_SCALE in values else _NANOSECONDS
    length = struct.unpack(">f" if len(ticks) == 4 else ">d", ticks)[0] * scale / 1e9
    return float(length) if 0 < length < float("inf") else 0.0


def _read_track(content: Content, track: _Element, header: Header) -> None:
    values = _values(content, track)
    kind = big(values[_TYPE]) if _TYPE in values else 0
    if kind == _OF_SOUND:
        header.has_sound = True
    elif kind == _OF_PICTURES and not header.has_video:
        header.has_video = True
        header.codec = bytes(values.get(_CODEC, b"")).decode("ascii", "ignore")
        for inner in _elements(content, track.start, track.end or 0):
            if inner.name == _VIDEO:
                sizes = _values(content, inner)
                header.width = big(sizes[_WIDTH]) if _WIDTH in sizes else 0
                header.height = big(sizes[_HEIGHT]) if _HEIGHT in sizes else 0
