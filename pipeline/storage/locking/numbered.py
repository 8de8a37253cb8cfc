"""A small file in a folder that several machines share, replaced only by who has read it last.

No file system has a conditional write, but all make a name once: every content has a number in its name, and whoever
makes the next number has replaced the one before.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from pipeline.storage.files import read_local
from pipeline.storage.writing import as_sink_errors


class NumberedFile:
    """The file; its versions are the numbers.

    Args:
        folder: Where its contents lie, ``1``, ``2`` and so on; nothing else does.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> tuple[bytes, str]:
        """Content and version.

        Raises:
            FileNotFoundError: There is none.
            InputError: It cannot be read.
        """
        while numbers := self._numbers():
            with contextlib.suppress(FileNotFoundError):  # replaced since it was listed
                return read_local(str(self._folder / str(numbers[-1]))), str(numbers[-1])
        raise FileNotFoundError(str(self._folder))

    def replace(self, data: bytes, version: str | None) -> str | None:
        """Writes a new content where the version is still the last one.

        Args:
            data: Unlike any other, so that a writer knows its own again.
            version: Of :meth:`read`; None where there was no file.

        Returns:
            The new version, None where another was faster.

        Raises:
            SinkError: The folder cannot be written.
        """
        number = int(version or 0) + 1
        with as_sink_errors(str(self._folder)):
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._make(self._folder / str(number), data):
                return None
            numbers = self._numbers()
            # Replaced often while we slept, so that our number was free again.
            if numbers[-1] != number:
                (self._folder / str(number)).unlink(missing_ok=True)
                return None
            for earlier in numbers[:-1]:
                (self._folder / str(earlier)).unlink(missing_ok=True)
        return str(number)

    def _make(self, path: Path, data: bytes) -> bool:
        """Makes a file whole; False where there is one of that name already."""
        staged = self._folder / f".{uuid.uuid4().hex}"
        try:
            staged.write_bytes(data)
            os.link(staged, path)
        except FileExistsError:
            # A server whose first answer was lost says so of our own link too.
            with contextlib.suppress(FileNotFoundError):
                return path.read_bytes() == data
            return False
        finally:
            staged.unlink(missing_ok=True)
        return True

    def _numbers(self) -> list[int]:
        """Those that are there, ascending."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdigit())
