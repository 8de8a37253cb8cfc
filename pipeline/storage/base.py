"""What a remote store can do, and a file of one that is open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Protocol

from pipeline.storage.location import FileInfo


class RangeFile(Protocol):
    """A remote file that is open. Any ``OSError`` of a read is worth another try, on a file opened anew."""

    size: int

    @property
    def ranged(self) -> bool:
        """Whether a range is known to be answered as such, so that several may be asked for at a time."""

    def read_range(self, start: int, length: int) -> bytes | memoryview:
        """The bytes of a range inside the file, bytes-like; fewer of them are a failure too."""

    def close(self) -> None:
        """Gives the connection back."""


class Store(Protocol):
    """A kind of remote storage; what goes wrong on the way is an ``OSError``."""

    def info(self, url: str) -> FileInfo | None:
        """Size and version, None where there is no such file."""

    def exists(self, url: str) -> bool:
        """Whether there is a file or folder."""

    def files(self, folder: str, *, recursive: bool) -> Iterable[FileInfo]:
        """The files of a folder; none where there is no such folder."""

    def open(self, url: str) -> RangeFile:
        """Opens a file for range reads."""

    def read(self, url: str) -> bytes:
        """A small file, whole."""

    def write(self, url: str, data: IO[bytes]) -> None:
        """Puts a file there, whole or not at all."""

    def copy(self, url: str, name: str) -> None:
        """Copies a file within the store."""

    def remove(self, url: str) -> None:
        """Removes a file."""
