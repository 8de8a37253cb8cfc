"""PyAV, an extra: the one place that imports it, and opens files with it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

from pipeline.errors import ConfigError
from pipeline.modalities.content import SNIFFED_BYTES, sniff

# Format by its first bytes -> the demuxer of FFmpeg that reads it. No other is ever tried: some are playlists, which
# name other files.
DEMUXERS = {
    "mp4": "mov",
    "matroska": "matroska",
    "avi": "avi",
    "mpeg": "mpeg",
    "gif": "gif",
    "jpeg": "mjpeg",
}
# What :func:`pyav` and what it opens import.
MODULES = ("av", "av.logging", "av.subtitles.stream", "av.video.reformatter")


def require_pyav(setting: str) -> None:
    """Refuses a configuration that needs PyAV where it is not installed.

    Args:
        setting: Dotted path of the setting that asks for it.

    Raises:
        ConfigError: It is not installed.
    """
    if find_spec("av") is None:
        raise ConfigError(
            "moving pictures are decoded by the package av (PyAV), which is not installed",
            where=setting,
            fix="install it with: pip install 'multimodal-pipeline[video]'",
        )


@cache
def pyav() -> Any:
    """The package, with what its libraries say of damaged files kept off the terminal."""
    import av
    import av.logging
    import av.video.reformatter

    av.logging.set_level(None)
    return av


def _any_metadata(version: str) -> dict[str, str]:
    """Has texts beside the frames read that are not UTF-8; from PyAV 19 on, they are, and there is no such argument."""
    return {"metadata_errors": "ignore"} if int(version.partition(".")[0]) < 19 else {}


class _View(io.RawIOBase):
    """Bytes as a file, without a copy of them."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size < 0 else self._place + size
        piece = bytes(self._data[self._place : end])
        self._place += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._data)}
        self._place = max(0, starts[whence] + offset)
        return self._place

    def tell(self) -> int:
        return self._place


@contextlib.contextmanager
def opened(data: memoryview) -> Iterator[Any]:
    """Opens a file that lies in memory, and closes it: containers do not close themselves.

    Args:
        data: The whole file.

    Yields:
        ``av.container.InputContainer``.

    Raises:
        ValueError: It cannot be read, here or by what is done with it inside the context.
        MemoryError: It needs more memory than there is.
    """
    av = pyav()
    found = sniff(bytes(data[:SNIFFED_BYTES]))
    if found not in DEMUXERS:
        raise ValueError(f"it is no file of moving pictures: its content is {found}")
    try:
        container = av.open(_View(data), format=DEMUXERS[found], **_any_metadata(av.__version__))
        try:
            yield container
        finally:
            container.close()
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise MemoryError from None
        # Among them is an EOFError, which no one who reads a shard is to see.
        raise ValueError(f"PyAV says: {error.strerror or error}") from None
