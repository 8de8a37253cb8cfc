"""Decoded parts that stay for later epochs: in memory, and in files beyond a share of it, as an object store spills."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa

MEMORY_SHARE = 0.3  # as Ray gives its object store


class KeptTables(Collection[str]):
    """Tables by the id of their part; a context manager, at whose end they and their files are gone.

    Args:
        max_bytes: In memory; what comes after that lies in files of a temporary folder, mapped into memory.
    """

    def __init__(self, max_bytes: float) -> None:
        self._room = max_bytes
        self._tables: dict[str, pa.Table] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> KeptTables:
        return self

    def __exit__(self, *error: object) -> None:
        self._tables.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def __contains__(self, part: object) -> bool:
        return part in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, part: str) -> pa.Table:
        return self._tables[part]

    def __setitem__(self, part: str, table: pa.Table) -> None:
        if table.nbytes > self._room:
            table = self._spilled(table)
        else:
            self._room -= table.nbytes
        self._tables[part] = table

    def _spilled(self, table: pa.Table) -> pa.Table:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="multimodal-decoded-")
        path = Path(self._folder.name) / f"{len(self._tables)}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
