"""Whether an image file is whole, as far as its container tells: what Pillow would pass over without a word."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

MAX_SAMPLES_PER_PIXEL = 16  # of a TIFF; beyond these a header is more likely damaged
_FRAMES = frozenset((b"VP8 ", b"VP8L", b"ANMF"))  # chunks of a WebP that hold pixels


def check_webp(data: memoryview) -> None:
    """Checks that a WebP's chunks are whole, as many as its header declares.

    Raises:
        ValueError: They are not.

    Source: RFC 9649, 2.3 and 2.4.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise ValueError(f"the WebP declares {end} bytes and holds {len(data)}")
    offset, frames = 12, 0
    while offset + 8 <= end:
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        if offset + 8 + size > end:
            raise ValueError("the WebP ends inside a chunk")
        frames += bytes(data[offset : offset + 4]) in _FRAMES
        offset += 8 + size + size % 2
    if not frames:
        raise ValueError("the WebP has no pixels")


def check_gif(data: memoryview) -> None:
    """Checks that a GIF's blocks are whole, up to its trailer; what lies behind is left alone.

    Raises:
        ValueError: They are not.

    Source: GIF89a specification, 1990, sections 15 to 27.
    """
    frames = 0
    try:
        offset = 13 + _colours(data[10])
        while (block := data[offset]) != 0x3B:
            if block == 0x21:
                offset = _after_sub_blocks(data, offset + 2)
            elif block == 0x2C:
                offset = _after_sub_blocks(data, offset + 11 + _colours(data[offset + 9]))
                frames += 1
            elif block == 0:  # stray terminators, which some writers leave
                offset += 1
            else:
                raise ValueError(f"there is no GIF block at byte {offset}")
    except IndexError:
        raise ValueError("the GIF ends before its trailer") from None
    if not frames:
        raise ValueError("the GIF has no frame")


def _colours(flags: int) -> int:
    """Bytes of the colour table that a descriptor's flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_sub_blocks(data: memoryview, offset: int) -> int:
    while size := data[offset]:
        offset += 1 + size
    return offset + 1


def check_avif(data: memoryview) -> None:
    """Checks that the boxes of an AVIF are whole.

    Raises:
        ValueError: They are not.

    Source: ISO/IEC 14496-12, 4.2.
    """
    offset, seen = 0, set[bytes]()
    while offset + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        if size == 1 and offset + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, offset + 8)
        elif size == 0:
            size = len(data) - offset
        if size < 8 or not kind.isalnum():
            break  # no box any more
        seen.add(kind)
        offset += size
        if offset > len(data):
            raise ValueError(f"the AVIF ends inside its box {kind.decode()}")
    if b"meta" not in seen and b"moov" not in seen:
        raise ValueError("the AVIF says nothing of its image")


# Bytes of a value of each TIFF type.
_TYPE_BYTES = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _SAMPLES, _ROWS_PER_STRIP, _PLANES = 256, 257, 277, 278, 284
# Tags that tell kinds apart, as the standard calls them.
_KIND = {
    258: "BitsPerSample",
    339: "SampleFormat",
    262: "PhotometricInterpretation",
    259: "Compression",
    266: "FillOrder",
}
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_PLACES = ((273, 279), (324, 325))  # offsets and sizes of strips, and of tiles


def check_tiff(data: memoryview, max_pixels: int) -> None:
    """Checks that what the first image of a TIFF points to is there: its tags' values, and all strips or tiles.

    Args:
        data: The file.
        max_pixels: Tiles of more are refused: a decoder makes room for a whole one.

    Raises:
        ValueError: It is not.

    Source: TIFF 6.0, sections 2, 8 and 15; BigTIFF, Aware Systems 2007.
    """
    numbers: dict[int, Sequence[int]] = {}
    for tag, kind, values in _tags(data):
        if kind in _NUMBERS:
            numbers[tag] = values

    def one(tag: int, default: int) -> int:
        return (numbers.get(tag) or (default,))[0]

    width, height = one(_WIDTH, 0), one(_HEIGHT, 0)
    across, down = one(_TILE_WIDTH, 0), one(_TILE_HEIGHT, 0)
    samples = one(_SAMPLES, 1)
    if across * down > max(max_pixels, 1 << 20) or samples > MAX_SAMPLES_PER_PIXEL:
        raise ValueError(f"the TIFF declares tiles of {across} x {down} x {samples} samples")
    planes = samples if one(_PLANES, 1) == 2 else 1
    for offsets_tag, sizes_tag in _PLACES:
        offsets, sizes = numbers.get(offsets_tag, ()), numbers.get(sizes_tag, ())
        if any(start + size > len(data) for start, size in zip(offsets, sizes, strict=False)):
            raise ValueError("the TIFF ends inside its pixels")
        if offsets_tag == 324 and across and down:
            blocks = math.ceil(width / across) * math.ceil(height / down) * planes
        else:
            blocks = math.ceil(height / (one(_ROWS_PER_STRIP, height) or 1)) * planes
        if offsets and len(offsets) < blocks:
            raise ValueError(f"the TIFF has {len(offsets)} of {blocks} stretches of pixels")


def tiff_kind(data: memoryview) -> str | None:
    """What kind a TIFF is, by its tags; None where its directory is damaged."""
    try:
        numbers = {tag: values for tag, kind, values in _tags(data) if kind in _NUMBERS}
    except ValueError:
        return None
    if not (numbers.get(_WIDTH) and numbers.get(_HEIGHT)):
        return None
    facts = {name: numbers.get(tag) for tag, name in _KIND.items()}
    return ", ".join(
        f"{name} {' '.join(map(str, values))}" for name, values in facts.items() if values
    )


def _tags(data: memoryview) -> Iterator[tuple[int, int, Sequence[int]]]:
    """Tag, type and values of the first directory's entries; values that are no whole numbers are left empty."""
    order = "<" if bytes(data[:2]) == b"II" else ">"
    big = bytes(data[2:4]) in (b"+\0", b"\0+")
    word, inline = ("Q", 8) if big else ("I", 4)
    try:
        (directory,) = struct.unpack_from(order + word, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, directory)
        entry = directory + (8 if big else 2)
        for _ in range(count):
            tag, kind, length = struct.unpack_from(order + "HH" + word, data, entry)
            place, size = entry + 4 + inline, length * _TYPE_BYTES.get(kind, 0)
            if size > inline:
                (place,) = struct.unpack_from(order + word, data, place)
            if place + size > len(data):
                raise ValueError(f"the TIFF ends inside its tag {tag}")
            form = f"{order}{length}{_NUMBERS[kind]}" if kind in _NUMBERS else ""
            yield tag, kind, struct.unpack_from(form, data, place)
            entry += 4 + 2 * inline
    except struct.error:
        raise ValueError("the TIFF ends inside its directory") from None
