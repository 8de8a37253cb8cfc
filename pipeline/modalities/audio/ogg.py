"""Ogg: whether its pages are whole. Decoders skip pages that are not, and the sound becomes shorter without a word."""

from __future__ import annotations

import struct
import zlib

_HEAD = struct.Struct(
    "<4sBBqIIIB"
)  # sign, version, flags, position, stream, number, checksum, segments
_CHECKSUM = slice(22, 26)
_FIRST, _LAST = 2, 4  # flags
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_ogg(data: memoryview) -> None:
    """Checks the pages of every stream: checksums, numbers, and a last page; what lies behind it is left alone.

    Raises:
        ValueError: Something does not hold.

    Source: RFC 3533, section 6.
    """
    offset, wanted = 0, dict[int, int]()  # number of the next page of each stream that goes on
    while wanted or not offset or bytes(data[offset : offset + 4]) == b"OggS":
        if offset + _HEAD.size > len(data):
            raise ValueError("the Ogg ends before its last page")
        sign, version, flags, _, stream, number, checksum, segments = _HEAD.unpack_from(
            data, offset
        )
        if sign != b"OggS" or version:
            raise ValueError(f"there is no Ogg page at byte {offset}")
        content = offset + _HEAD.size + segments
        end = content + sum(data[offset + _HEAD.size : content])
        if end > len(data) or content > len(data):
            raise ValueError("the Ogg ends inside a page")
        if page_checksum(data[offset:end]) != checksum:
            raise ValueError(f"the checksum of the Ogg page at byte {offset} does not hold")
        if flags & _FIRST:
            wanted[stream] = number
        if wanted.get(stream) != number:
            raise ValueError(f"Ogg pages are missing before byte {offset}")
        wanted[stream] = number + 1 & 0xFFFFFFFF
        if flags & _LAST:
            del wanted[stream]
        offset = end


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
