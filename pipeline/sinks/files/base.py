"""What a format of files does for a sink."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any, Protocol

import pyarrow as pa

from pipeline import storage
from pipeline.errors import SinkError
from pipeline.sinks.records import PartFile


class RowFiles(Protocol):
    """How rows lie in files. Picklable: files are written on the workers, and merged on any node."""

    @property
    def suffix(self) -> str:
        """What the names of the files end with."""

    def write(self, file: Any, tables: Iterable[pa.Table]) -> None:
        """Writes tables of one schema, one after the other; the same tables give the same bytes.

        Args:
            file: Has ``write``.
            tables: At least one; one is held at a time.
        """

    def check(self, file: IO[bytes], rows: int) -> None:
        """Looks at a file that was just written.

        Raises:
            SinkError: It cannot be read, or has not so many rows.
        """

    def read(self, url: str) -> pa.Table:
        """All rows of a file.

        Raises:
            FileNotFoundError: There is none.
        """


def write_part(output: str, folder: str, name: str, rows: pa.Table, files: RowFiles) -> PartFile:
    """Writes rows of one attempt at a part; the file's name tells of its content, so that two never disagree.

    Args:
        output: The output folder.
        folder: In it, ``_parts`` or ``_quarantine``.
        name: Begin of the file's name.
        rows: What is written.
        files: How.
    """
    url = storage.join(output, folder, f"{name}{files.suffix}")
    with storage.create(
        url, replace=False, check=lambda file: files.check(file, rows.num_rows)
    ) as file:
        files.write(file, [rows])
        full_name = f"{name}.{file.crc32:08x}{files.suffix}"
        file.url = storage.join(output, folder, full_name)
    return PartFile(f"{folder}/{full_name}", rows.num_rows, file.num_bytes, f"{file.crc32:08x}")


def damaged(what: str) -> SinkError:
    """A file that was just written is not what was written."""
    return SinkError(
        f"the file that was just written {what}", fix="check the disk, and run the job again"
    )
