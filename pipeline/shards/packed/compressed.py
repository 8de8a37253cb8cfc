"""Shards packed with gzip, Zstandard, bzip2 or xz, unpacked on the way and read from front to end."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial

from pipeline.errors import in_words
from pipeline.limits import EXPANSION, UNPACKED_BYTES, Limits, moved_by
from pipeline.shards.packed.input import PIECE_BYTES, BadStream, PackedInput
from pipeline.shards.packed.kinds import packed_with, sign
from pipeline.shards.packed.streams import STREAMS, unpack_streams
from pipeline.storage import ByteSource

ZSTD_WINDOW_BYTES = (
    128 << 20
)  # what `zstd --long` makes, and the most its own tool unpacks unless told
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPED_MAGIC = b"\x2a\x4d\x18"  # after one byte 50 to 5f: a frame of someone's own


class Unpacked:
    """A packed file, as its content: read forward only, with memory for one member.

    What lies before the last offset asked for is forgotten. So is a member's content that is over the limit.

    Args:
        packed: The file as it lies; closed with this.
        name: File name, whose suffix says how it is packed.
        limits: How much is unpacked.
    """

    def __init__(self, packed: ByteSource, name: str, limits: Limits | None = None) -> None:
        self._packed, self._limits = packed, limits or Limits()
        self._input = PackedInput(packed)
        self._pieces = _decoder(name)(self._input)
        self._window, self._base = bytearray(), 0
        self._ended = False
        self.fault: BadStream | None = None
        """Why the content ends here; None while it goes on, and where it ends as it should."""

    @property
    def size(self) -> int:
        """Bytes unpacked so far."""
        return self._base + len(self._window)

    def read(self, offset: int, length: int) -> memoryview:
        if offset < self._base:
            return memoryview(b"")
        while self.size < offset and self._unpack():
            self._forget(offset)
        self._forget(offset)
        while self.size < offset + length and self._unpack():
            pass
        if offset != self._base:  # behind the end
            return memoryview(b"")
        with memoryview(self._window) as window:
            return memoryview(bytes(window[:length]))

    def holds(self, end: int) -> bool:
        room = self._limits.member_bytes + PIECE_BYTES
        while self.size < end and self._unpack():
            if end - self._base > room:
                self._forget(self.size)
        return end <= self.size

    def close(self) -> None:
        self._ended = True
        self._packed.close()

    def _forget(self, before: int) -> None:
        count = min(before - self._base, len(self._window))
        del self._window[:count]
        self._base += count

    def _unpack(self) -> bool:
        """Unpacks a piece more; False at the end."""
        if self._ended:
            return False
        try:
            piece = next(self._pieces, None)
            if piece is not None:
                self._window += piece
                self._check_limits()
        except BadStream as fault:
            self.fault, piece = fault, None
        self._ended = piece is None
        return not self._ended

    def _check_limits(self) -> None:
        limits, size = self._limits, self.size
        if size > limits.unpacked_bytes:
            detail = moved_by("unpacks to more bytes", UNPACKED_BYTES, limits.unpacked_bytes)
            raise BadStream("too_large", detail, UNPACKED_BYTES)
        if size > max(limits.expansion_from_bytes, limits.expansion * self._input.taken):
            detail = moved_by("unpacks to more times its size", EXPANSION, limits.expansion)
            raise BadStream("too_large", detail, EXPANSION)


def _decoder(name: str) -> Callable[[PackedInput], Iterator[bytes]]:
    kind = packed_with(name)
    if kind in STREAMS:
        return partial(unpack_streams, format=STREAMS[kind])
    return _zstd if kind == "zstd" else _gzip


def _gzip(source: PackedInput) -> Iterator[bytes]:
    """Unpacks gzip members, one after the other; zeros between and behind them are padding."""
    first = True
    while True:
        data = source.some()
        if not first:
            while data and not data.strip(b"\0"):
                data = source.some()
            data = data.lstrip(b"\0")
        if not data:
            return
        if not first and not b"\x1f\x8b".startswith(data[:2]):
            raise BadStream("trailing_data", "there is data after the gzip stream")
        if first and not b"\x1f\x8b".startswith(data[:2]):
            raise BadStream("bad_compression", _not_a("gzip", data))
        first = False
        source.give_back(data)
        yield from _gzip_member(source)


def _not_a(name: str, head: bytes) -> str:
    kind = sign(head)
    return f"not a {name} stream ({kind})" if kind else f"not a {name} stream"


def _gzip_member(source: PackedInput) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    data = b""
    while not unpacker.eof:
        data = data or source.some()
        before = unpacker.copy()
        try:
            piece = unpacker.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            yield from _bytewise(before, data)
            raise BadStream(
                "bad_compression", f"the gzip stream is damaged: {in_words(error)}"
            ) from error
        if not data and not piece and not unpacker.eof:
            raise BadStream("truncated_shard", "the gzip stream is cut")
        data = unpacker.unconsumed_tail
        if piece:
            yield piece
    source.give_back(unpacker.unused_data)


def _bytewise(unpacker: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What comes out before damage: the call that met it has thrown its output away."""
    for index in range(len(data)):
        try:
            piece = unpacker.decompress(data[index : index + 1])
        except zlib.error:
            return
        if piece:
            yield piece


def _zstd(source: PackedInput) -> Iterator[bytes]:
    """Unpacks Zstandard frames block by block: a block is 128 KiB at most, whatever it expands from.

    Source: RFC 8878, section 3.1.
    """
    first = True
    while magic := source.exactly(4):
        if magic[1:] == _SKIPPED_MAGIC and 0x50 <= magic[0] <= 0x5F:
            _skip(source, int.from_bytes(_all(source, 4), "little"))
        elif magic == _ZSTD_MAGIC:
            yield from _zstd_frame(source)
        elif len(magic) < 4:
            raise BadStream("truncated_shard", "the Zstandard stream is cut")
        elif first:
            raise BadStream("bad_compression", _not_a("Zstandard", magic + source.exactly(512)))
        else:
            raise BadStream("trailing_data", "there is data after the Zstandard stream")
        first = False


def _zstd_frame(source: PackedInput) -> Iterator[bytes]:
    import zstandard

    descriptor = _all(source, 1)
    single = bool(descriptor[0] & 0x20)
    sizes = (1 if single else 0, 2, 4, 8)[descriptor[0] >> 6]
    more = (0 if single else 1) + (0, 1, 2, 4)[descriptor[0] & 3] + sizes
    unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()

    def unpack(data: bytes) -> bytes:
        try:
            return unpacker.decompress(data)
        except zstandard.ZstdError as error:
            detail = f"the Zstandard stream is damaged: {in_words(error)}"
            raise BadStream("bad_compression", detail) from error

    unpack(_ZSTD_MAGIC + descriptor + _all(source, more))
    last = False
    while not last:
        header = _all(source, 3)
        word = int.from_bytes(header, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        piece = unpack(header + _all(source, 1 if kind == 1 else size))
        if piece:
            yield piece
    if descriptor[0] & 4:
        unpack(_all(source, 4))


def _all(source: PackedInput, count: int) -> bytes:
    data = source.exactly(count)
    if len(data) < count:
        raise BadStream("truncated_shard", "the Zstandard stream is cut")
    return data


def _skip(source: PackedInput, count: int) -> None:
    while count > 0:
        count -= len(_all(source, min(count, PIECE_BYTES)))
