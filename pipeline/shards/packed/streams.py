"""Streams of bzip2 and xz, one after the other, by the decompressors of the standard library.

Source: the .xz file format 1.2.1 (stream padding: zeros, section 2.2); bzip2's streams are joined without any.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.shards.packed.input import PIECE_BYTES, BadStream, PackedInput
from pipeline.shards.packed.kinds import sign

XZ_MEMORY_BYTES = 192 << 20  # what `xz -9` asks for is 65 MiB
_FED_BYTES = 512  # at a time: what a damaged call had unpacked is lost with it


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


@dataclass(frozen=True)
class Format:
    """How streams of a format are told and unpacked.

    Attributes:
        name: In words.
        magic: How a stream begins.
        unpacker: Makes a decompressor for one stream.
    """

    name: str
    magic: bytes
    unpacker: Callable[[], _Unpacker]


def _xz() -> _Unpacker:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


STREAMS: Mapping[str | None, Format] = {
    "bzip2": Format("bzip2", b"BZh", bz2.BZ2Decompressor),
    "xz": Format("xz", b"\xfd7zXZ\0", _xz),
}


def unpack_streams(source: PackedInput, format: Format) -> Iterator[bytes]:
    """Unpacks all streams; zeros between and behind them are padding.

    Raises:
        BadStream: They are damaged, cut, or followed by something else.
    """
    first = True
    while data := source.some():
        if not first:
            data = data.lstrip(b"\0")
            if not data:
                continue
        source.give_back(data)
        magic = source.exactly(len(format.magic))
        if magic != format.magic:
            raise _no_stream(source, magic, format, first=first)
        source.give_back(magic)
        first = False
        yield from _stream(source, format)


def _stream(source: PackedInput, format: Format) -> Iterator[bytes]:
    unpacker = format.unpacker()
    data, fed, held = source.some(), 0, bytearray()
    fault: BadStream | None = None
    while not unpacker.eof and fault is None:
        if fed == len(data):
            data, fed = source.some(), 0
        piece = data[fed : fed + _FED_BYTES] if unpacker.needs_input else b""
        fed += len(piece)
        try:
            if unpacker.needs_input and not piece:
                raise EOFError
            held += unpacker.decompress(piece, PIECE_BYTES)
        except EOFError:
            fault = BadStream("truncated_shard", f"the {format.name} stream is cut")
        except (OSError, ValueError, MemoryError, lzma.LZMAError) as error:
            detail = f"the {format.name} stream is damaged: {error}"
            fault = BadStream("bad_compression", detail)
        if len(held) >= PIECE_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held)
    if fault is not None:
        raise fault
    source.give_back(unpacker.unused_data + data[fed:])


def _no_stream(source: PackedInput, magic: bytes, format: Format, *, first: bool) -> BadStream:
    if format.magic.startswith(magic):
        return BadStream("truncated_shard", f"the {format.name} stream is cut")
    if not first:
        return BadStream("trailing_data", f"there is data after the {format.name} stream")
    kind = sign(magic + source.exactly(512))
    detail = f"not a {format.name} stream"
    return BadStream("bad_compression", f"{detail} ({kind})" if kind else detail)
