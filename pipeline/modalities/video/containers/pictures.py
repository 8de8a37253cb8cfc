"""Files that are pictures one after the other: GIF and motion JPEG.

Source: CompuServe, "Graphics Interchange Format", version 89a, 18-27 (blocks); ITU-T T.81, B.1.1.3 (markers).
"""

from __future__ import annotations

from pipeline.modalities.content import Content
from pipeline.modalities.image.probe import probe_image
from pipeline.modalities.video.containers.header import Header, little

_TRAILER, _EXTENSION, _IMAGE = 0x3B, 0x21, 0x2C
_END_OF_IMAGE = b"\xff\xd9"
_PADDING_BYTES = 4096  # of zeros, behind the last picture


def read_gif(content: Content) -> Header:
    """Size and number of pictures of a GIF; where only its head is at hand, its size alone."""
    head = content.read(0, 13)
    if len(head) < 13:
        return Header(problem="the GIF ends in its header")
    header = Header(little(head[6:8]), little(head[8:10]), codec="gif", has_video=True)
    if len(content.head) == content.size:
        _walk(content.head, 13 + _table_bytes(head[10]), header)
    return header


def _table_bytes(flags: int) -> int:
    """Bytes of a table of colours, by the byte of flags that announces it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _walk(data: memoryview, place: int, header: Header) -> None:
    """Goes from block to block to the trailer, counting pictures; a GIF that ends between two is taken as whole."""
    ends = "the GIF ends within a picture"
    while place < len(data) and data[place] != _TRAILER:
        if data[place] == _EXTENSION:
            place += 2
        elif data[place] == _IMAGE and place + 10 <= len(data):
            header.frames += 1
            place += 11 + _table_bytes(data[place + 9])
        else:
            header.problem = ends if data[place] == _IMAGE else "the GIF holds what is no block"
            return
        while place < len(data) and data[place]:
            place += 1 + data[place]
        if place >= len(data):
            header.problem = ends
            return
        place += 1
    if not header.frames:
        header.problem = "the GIF holds no picture"


def read_motion_jpeg(content: Content) -> Header:
    """Size of the first picture, and whether the last one ends."""
    size = probe_image(content, "jpeg")
    if size is None:
        return Header(problem="the first picture's header cannot be read")
    header = Header(size.width, size.height, codec="mjpeg", has_video=True)
    tail = bytes(content.read(max(0, content.size - _PADDING_BYTES), _PADDING_BYTES))
    if not tail.rstrip(b"\0").endswith(_END_OF_IMAGE):
        header.problem = "the file ends within a picture"
    return header
