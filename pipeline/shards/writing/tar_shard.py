"""One tar that grows through webdataset's writer and comes out the same whenever it is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

_BLOCK_BYTES = 512  # a tar header, and the unit that contents are padded to
_RECORD_BYTES = 20 * _BLOCK_BYTES  # the unit that a whole tar is padded to


class TarShard:
    """A shard that is being written.

    Args:
        path: Where it grows.
        name: File name it will have.
    """

    def __init__(self, path: Path, name: str) -> None:
        # webdataset imports torch, which takes seconds: only a job that packs waits for it.
        from webdataset import TarWriter

        self.name = name
        self.num_samples = 0
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by finish or abandon
        # Nothing of the machine, the user or the clock goes into the headers.
        self._tar: Any = TarWriter(
            self._file, user="", group="", mode=0o644, mtime=0, compress=False, encoder=False
        )

    def size_with(self, extra: int) -> int:
        """Size of the finished tar in bytes if members of ``extra`` bytes were added."""
        content = int(self._tar.tarstream.offset) + extra + 2 * _BLOCK_BYTES
        return -(-content // _RECORD_BYTES) * _RECORD_BYTES

    def write(self, key: str, fields: Mapping[str, bytes]) -> None:
        """Appends a sample's fields, in the order of their extensions."""
        self._tar.write({"__key__": key, **fields})
        self.num_samples += 1

    def finish(self) -> int:
        """Completes the tar on disk; returns its size in bytes."""
        with self._file:
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._file.tell()

    def abandon(self) -> None:
        """Closes the file, which is of no further use."""
        with contextlib.suppress(OSError), self._file:
            self._tar.close()  # or it would try when it is collected, into a closed file


def member_bytes(name: str, size: int) -> int:
    """Size in a tar of a member of ``size`` bytes: headers and padded content."""
    headers = _BLOCK_BYTES
    if not name.isascii() or len(name) > 100:  # the name goes into an extended header of its own
        headers += _BLOCK_BYTES + _padded(len(name.encode()) + 32)
    return headers + _padded(size)


def _padded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
