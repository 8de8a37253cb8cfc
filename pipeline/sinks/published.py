"""The rows of the last snapshot, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage


class Place(NamedTuple):
    """Where a part's rows lie.

    Attributes:
        file: Name of the file.
        first: Its first row there.
        rows: How many.
        retry: The attempt that they are of.
    """

    file: str
    first: int
    rows: int
    retry: int


@dataclass
class Published:
    """Reads parts from the files of a snapshot; a file is read once for neighbouring parts.

    Attributes:
        output: The folder.
        places: Part -> where its rows lie.
    """

    output: str
    places: Mapping[str, Place]
    _last: tuple[str, pa.Table] | None = None

    @classmethod
    def of(cls, output: str, manifest: Mapping[str, Any]) -> Published:
        """The parts of a manifest."""
        places = {}
        for file in manifest["files"]:
            first = 0
            for part in file["parts"]:
                places[part["id"]] = Place(file["name"], first, part["rows"], part.get("retry", 0))
                first += part["rows"]
        return cls(output, places)

    def rows(self, place: Place) -> pa.Table:
        """The rows of a place."""
        if self._last is None or self._last[0] != place.file:
            self._last = place.file, read_table(storage.join(self.output, place.file))
        return self._last[1].slice(place.first, place.rows)


def read_table(url: str) -> pa.Table:
    """All rows of a Parquet file."""
    if storage.is_local(url):
        return pq.ParquetFile(storage.local_path(url), memory_map=True).read()
    return pq.ParquetFile(pa.BufferReader(storage.read_bytes(url))).read()
