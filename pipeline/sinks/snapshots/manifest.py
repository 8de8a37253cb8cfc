"""The manifest: the files that make up a snapshot, and the parts that each of them holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pipeline import storage
from pipeline.sinks.folder import MANIFEST

FORMAT = 2  # of manifest and book


@dataclass(frozen=True, slots=True)
class PartRows:
    """The rows of one part in a file.

    Attributes:
        id: Identity of the part.
        shard: Its shard.
        rows: How many.
        retry: How often its bad samples had been tried again; left out of the JSON where never.
    """

    id: str
    shard: str
    rows: int
    retry: int = 0

    def values(self) -> dict[str, str | int]:
        """Ready for JSON."""
        values: dict[str, str | int] = {"id": self.id, "shard": self.shard, "rows": self.rows}
        return values | ({"retry": self.retry} if self.retry else {})


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A file of a snapshot.

    Attributes:
        name: In the output folder.
        rows: How many.
        bytes: Its size.
        parts: What it holds, one after the other.
    """

    name: str
    rows: int
    bytes: int
    parts: tuple[PartRows, ...]

    def values(self) -> dict[str, Any]:
        """Ready for JSON."""
        parts = [part.values() for part in self.parts]
        return {"name": self.name, "rows": self.rows, "bytes": self.bytes, "parts": parts}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The file that :meth:`values` described."""
        parts = tuple(
            PartRows(part["id"], part["shard"], part["rows"], part.get("retry", 0))
            for part in values["parts"]
        )
        return cls(values["name"], values["rows"], values["bytes"], parts)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot.

    Attributes:
        fingerprint: Of what its rows depend on.
        num_rows: In all of its data files.
        files: Those of the data.
        quarantine: Names of those of the quarantine.
        snapshot: Its number, counted from 1.
        records: Name of the file with the records of its parts (:class:`pipeline.sinks.records.Book`).
        version: Of the format.
    """

    fingerprint: str
    num_rows: int
    files: tuple[SnapshotFile, ...]
    quarantine: tuple[str, ...]
    snapshot: int
    records: str
    version: int = FORMAT

    @property
    def names(self) -> set[str]:
        """Names of all files, of data and quarantine."""
        return {file.name for file in self.files} | set(self.quarantine)

    def to_json(self) -> bytes:
        """The file's content."""
        values = {
            "version": self.version,
            "fingerprint": self.fingerprint,
            "num_rows": self.num_rows,
            "files": [file.values() for file in self.files],
            "quarantine": self.quarantine,
            "snapshot": self.snapshot,
            "records": self.records,
        }
        return json.dumps(values).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """The manifest that :meth:`to_json` wrote."""
        return cls.from_values(json.loads(content))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The manifest of a JSON object."""
        return cls(
            fingerprint=values["fingerprint"],
            num_rows=values["num_rows"],
            files=tuple(map(SnapshotFile.from_values, values["files"])),
            quarantine=tuple(values["quarantine"]),
            snapshot=values["snapshot"],
            records=values["records"],
            version=values["version"],
        )


def read_manifest(output: str) -> Manifest | None:
    """The manifest of an output folder; None where nothing was published."""
    try:
        return Manifest.from_json(storage.read_bytes(storage.join(output, MANIFEST)))
    except FileNotFoundError:
        return None
