"""Whether all pixels of a JPEG are in its scans, where the fast reader's first warning hides those behind it."""

from __future__ import annotations

import re

import simplejpeg

from pipeline.errors import SampleError
from pipeline.modalities.decoding.foreign import RAISED, refusal
from pipeline.modalities.image.formats.jpeg_head import START_OF_SCAN, Head
from pipeline.modalities.image.formats.jpeg_whole import check_whole

# What libjpeg says where it made pixels up.
MADE_UP = (
    "bad Huffman code",
    "bad arithmetic code",
    "premature end",
    "Premature end",
    "found marker",
    "Inconsistent progression",
)
# Its other warnings are of sloppy writers. Of each file it tells the first, and no more.
SLOPPY = (
    "extraneous bytes",
    "Adobe color transform",
    "JFIF revision",
    "bad ICC marker",
    "Invalid SOS parameters",
)
MAX_PADDINGS = 16  # stretches of zeros before markers that are passed over
_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_APPLICATIONS, _COMMENT = range(0xE0, 0xF0), 0xFE
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_WHOLE_SPECTRUM = b"\x00\x3f\x00"  # what the header of a sequential scan is to say


def check_scans(data: memoryview, head: Head, field: str) -> None:
    """Decodes a JPEG at an eighth of its size, and bears no warning.

    What a sloppy writer leaves is taken out before: all that is no part of the image, and zeros before a marker. Bytes
    other than zeros are pixels that the decoder had no use for: it lost its way before.

    Raises:
        SampleError: It is damaged.
        ValueError: It is damaged, and of a kind that this reader does not know.
    """
    bare = _bare(data, head)
    space = "CMYK" if head.components == 4 else "GRAY"
    for _ in range(MAX_PADDINGS):
        try:
            simplejpeg.decode_jpeg(bare, space, min_height=1, min_width=1)
            return
        except RAISED as error:
            if not any(warning in str(error) for warning in (*MADE_UP, *SLOPPY)):
                check_whole(data, head)  # of a kind that it does not know
                return
            shorter = _without_padding(bare, str(error))
            if shorter is None:
                raise refusal(error, "bad_image", field, "the image") from None
            bare = shorter
    raise SampleError("the image has bytes that belong to nothing", reason="bad_image", field=field)


def _bare(data: memoryview, head: Head) -> bytes:
    """The file without comments, the segments of applications, and bytes between segments."""
    if not head.segments:
        return bytes(data)
    pieces = [b"\xff\xd8"]
    for marker, start, end in head.segments:
        if marker not in _APPLICATIONS and marker != _COMMENT:
            pieces.append(bytes(data[start:end]))
    last = head.segments[-1]
    if last.marker == START_OF_SCAN and head.frame in _SEQUENTIAL:
        pieces[-1] = pieces[-1][:-3] + _WHOLE_SPECTRUM
    return b"".join([*pieces, bytes(data[last.end :])])


def _without_padding(data: bytes, warning: str) -> bytes | None:
    """The file without the zeros before the marker that a warning names; None where there are none."""
    padding = _PADDING.search(warning)
    if padding is None:
        return None
    marker = bytes([0xFF, int(padding[2], 16)])
    shorter = data.replace(bytes(int(padding[1])) + marker, marker)
    return shorter if len(shorter) < len(data) else None
