"""PNG: whether a file is whole. Pillow shows rows that are not there as black, and looks at nothing behind the rows."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

_SIGNATURE_BYTES = 8
_AROUND_BYTES = 12  # length, type and checksum around a chunk's content
_PIECE_BYTES = 256 << 10  # of pixels, unpacked at a time
_READ_BYTES, _END_BYTES = (
    1 << 16,
    8,
)  # what Pillow reads at a time; the checksum, and bits before it
GREY, TRUECOLOUR, _PALETTE = 0, 2, 3  # colour types
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# First column and row of each pass of an interlaced image, and the steps to the next.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


class Outline(NamedTuple):
    """Where the pixels of a PNG lie, and how they are laid out.

    Attributes:
        width: In pixels.
        height: As ``width``.
        depth: Bits of a sample.
        colour: Colour type.
        interlaced: Whether the pixels come in seven passes.
        pieces: First byte and end of each stretch of packed pixels.
        transparent: What stands for transparent, as the file has it; None where nothing does.
    """

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    pieces: list[tuple[int, int]]
    transparent: bytes | None = None

    @property
    def bits(self) -> int:
        """Of a pixel."""
        return self.depth * _CHANNELS[self.colour]

    @property
    def end_is_apart(self) -> bool:
        """Whether the checksum of the pixels may come in a read of its own, which Pillow does not ask for any more."""
        start, end = self.pieces[-1]
        return not (end - start) % _READ_BYTES > _END_BYTES

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of all rows, each with its filter's."""
        total = 0
        for x, y, across, down in _PASSES if self.interlaced else ((0, 0, 1, 1),):
            columns, rows = -(-(self.width - x) // across), -(-(self.height - y) // down)
            if columns > 0 and rows > 0:
                total += rows * (1 + -(-columns * self.bits // 8))
        return total


def read_outline(data: memoryview) -> Outline:
    """Checks the chunks of a PNG, each with its checksum, up to the end chunk; what lies behind is left alone.

    Raises:
        ValueError: Something does not hold.

    Source: W3C PNG (third edition), 5.3 chunk layout, 11.2 critical chunks.
    """
    offset, seen = _SIGNATURE_BYTES, set[bytes]()
    pieces: list[tuple[int, int]] = []
    layout = (0, 0, 0, 0, False)
    transparent: bytes | None = None
    while b"IEND" not in seen:
        if offset + _AROUND_BYTES > len(data):
            raise ValueError("the PNG ends before its end chunk")
        (size,) = struct.unpack_from(">I", data, offset)
        kind, after = bytes(data[offset + 4 : offset + 8]), offset + _AROUND_BYTES + size
        if not kind.isalpha():
            raise ValueError(f"there is no PNG chunk at byte {offset}")
        if after > len(data):
            raise ValueError(f"the PNG ends inside its chunk {kind.decode()}")
        stored = int.from_bytes(data[after - 4 : after], "big")
        if zlib.crc32(data[offset + 4 : after - 4]) != stored:
            raise ValueError(f"the checksum of the PNG's chunk {kind.decode()} does not hold")
        if not seen:
            layout = _header(kind, data[offset + 8 : after - 4])
        elif kind == b"IDAT":
            pieces.append((offset + 8, after - 4))
        elif kind == b"tRNS" and transparent is None:
            transparent = bytes(data[offset + 8 : after - 4])
        seen.add(kind)
        offset = after
    width, height, depth, colour, interlaced = layout
    if not pieces:
        raise ValueError("the PNG has no pixels")
    if colour == _PALETTE and b"PLTE" not in seen:
        raise ValueError("the PNG has no palette")
    return Outline(width, height, depth, colour, interlaced, pieces, transparent)


def check_rows(data: memoryview, outline: Outline) -> None:
    """Unpacks the pixels of a PNG, to see that all are there and that their checksum holds.

    Raises:
        ValueError: They are not, or it does not.

    Source: W3C PNG (third edition), 7.2 scanlines, 8.1 interlacing.
    """
    unpacker, remaining = zlib.decompressobj(), outline.unpacked_bytes
    for start, end in outline.pieces:
        piece: bytes | memoryview = data[start:end]
        # More than the rows need would be of no use, or a bomb: it is not unpacked.
        while len(piece) and remaining >= 0 and not unpacker.eof:
            remaining -= len(unpacker.decompress(piece, _PIECE_BYTES))
            piece = unpacker.unconsumed_tail
    if remaining > 0:
        raise ValueError(f"the pixels of the PNG end {remaining} bytes early")
    if remaining == 0 and not unpacker.eof:
        raise ValueError("the pixels of the PNG end before their checksum")


def _header(kind: bytes, content: memoryview) -> tuple[int, int, int, int, bool]:
    """Width, height, depth, colour type, and whether the image is interlaced."""
    if kind != b"IHDR" or len(content) != 13:
        raise ValueError("the PNG does not begin with its header chunk")
    width, height, depth, colour, packing, filtering, interlaced = struct.unpack(
        ">IIBBBBB", content
    )
    if depth not in _DEPTHS.get(colour, ()):
        raise ValueError(f"a PNG has no colour type {colour} of {depth} bits")
    if packing or filtering or interlaced > 1:
        raise ValueError("the PNG is packed in a way that there is not")
    return width, height, depth, colour, bool(interlaced)
