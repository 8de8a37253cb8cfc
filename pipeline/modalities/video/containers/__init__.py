"""What the header of a file of moving pictures says, and whether the file goes on to the end that it declares.

Nothing is decoded, and PyAV is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.modalities.content import Content
from pipeline.modalities.video.containers.header import Header
from pipeline.modalities.video.containers.matroska import read_matroska
from pipeline.modalities.video.containers.mp4 import read_mp4
from pipeline.modalities.video.containers.pictures import read_gif, read_motion_jpeg
from pipeline.modalities.video.containers.riff import read_avi

__all__ = ["Header", "read_header"]

_READERS: Mapping[str, Callable[[Content], Header]] = {
    "mp4": read_mp4,
    "matroska": read_matroska,
    "avi": read_avi,
    "gif": read_gif,
    "jpeg": read_motion_jpeg,
}


def read_header(content: Content, found: str) -> Header | None:
    """Reads a header.

    Args:
        content: The member.
        found: Its format, from :func:`pipeline.modalities.content.sniff`.

    Returns:
        None where there is no reader for the format; what cannot be read is the header's ``problem``.
    """
    reader = _READERS.get(found)
    return None if reader is None else reader(content)
