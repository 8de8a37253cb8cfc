"""Width and height of an image from its header; no pixel is decoded."""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

from pipeline.modalities.content import Content
from pipeline.modalities.decoding.foreign import RAISED

MAX_SEGMENTS = 1000  # of a JPEG before its frame header
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


class ImageHeader(NamedTuple):
    """Width and height in pixels, as stored: before EXIF turns the image."""

    width: int
    height: int


def probe_image(content: Content, name: str) -> ImageHeader | None:
    """Reads an image's header.

    Args:
        content: The member.
        name: Its format, from :func:`pipeline.modalities.content.sniff`.

    Returns:
        None where no reader knows the image, or its header is damaged.
    """
    probe_of_kind = _PROBES.get(name)
    header = probe_of_kind(content) if probe_of_kind else None
    if header is None or not header.width or not header.height:
        return _by_pillow(content)
    return header


def _jpeg(content: Content) -> ImageHeader | None:
    """Source: ITU-T T.81, B.2.2, frame header."""
    offset = 2
    for _ in range(MAX_SEGMENTS):
        head = content.read(offset, 9)
        if len(head) < 4 or head[0] != 0xFF:
            return None
        marker = head[1]
        if marker == 0xFF:  # filled up
            offset += 1
        elif marker in _ALONE:
            offset += 2
        elif marker in _START_OF_FRAME:
            if len(head) < 9:
                return None
            return ImageHeader(_big(head[7:9]), _big(head[5:7]))
        else:
            offset += 2 + _big(head[2:4])
    return None


def _png(content: Content) -> ImageHeader | None:
    """Source: W3C PNG, 11.2.1 IHDR."""
    head = content.read(0, 24)
    if len(head) < 24 or bytes(head[12:16]) != b"IHDR":
        return None
    return ImageHeader(_big(head[16:20]), _big(head[20:24]))


def _gif(content: Content) -> ImageHeader | None:
    head = content.read(0, 10)
    return ImageHeader(_little(head[6:8]), _little(head[8:10])) if len(head) == 10 else None


def _webp(content: Content) -> ImageHeader | None:
    """Source: RFC 9649: the chunks VP8, VP8L and VP8X."""
    head = content.read(0, 30)
    if len(head) < 30:
        return None
    kind = bytes(head[12:16])
    if kind == b"VP8X":
        return ImageHeader(1 + _little(head[24:27]), 1 + _little(head[27:30]))
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = _little(head[21:25])
        return ImageHeader(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 " and bytes(head[23:26]) == b"\x9d\x01\x2a":
        return ImageHeader(_little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF)
    return None


def _by_pillow(content: Content) -> ImageHeader | None:
    """Opens an image as the codec does, without decoding it."""
    from PIL import Image

    from pipeline.modalities.image.formats.pillow import FORMATS

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content.whole()), formats=FORMATS) as image:
                return ImageHeader(*image.size)
    except (*RAISED, MemoryError):
        return None


def _big(data: memoryview) -> int:
    return int.from_bytes(data, "big")


def _little(data: memoryview) -> int:
    return int.from_bytes(data, "little")


_PROBES = {"jpeg": _jpeg, "png": _png, "gif": _gif, "webp": _webp}
