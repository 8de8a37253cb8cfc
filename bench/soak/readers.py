"""Readers of an output folder: what a snapshot holds, and whether all that is visible is whole at every moment."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LOOK_SECONDS = 0.05
MANIFEST = "_manifest.json"
PLACES = ("part-*.parquet", "_parts/*.parquet", "_quarantine/*.parquet")
Row = tuple[str, str, str]  # shard, key, digest of all columns


@dataclass(frozen=True)
class Rows:
    """All rows of a snapshot.

    Attributes:
        good: Those with predictions, and how often each is there.
        bad: Those of the quarantine, every column as text.
    """

    good: Counter[Row]
    bad: Counter[str]

    def difference(self, found: Rows) -> dict[str, int]:
        """How other rows differ from these, in counts of rows; ``foreign`` are those that these have not at all."""
        ours, theirs = (Counter(row[:2] for row in each.good.elements()) for each in (self, found))
        digests = {row[:2]: row[2] for row in self.good}
        quarantine = (self.bad - found.bad) + (found.bad - self.bad)
        return {
            "lost": sum((ours - theirs).values()),
            "doubled": sum(count - 1 for count in theirs.values()),
            "different": sum(digests.get(row[:2], row[2]) != row[2] for row in found.good),
            "foreign": len(theirs.keys() - ours.keys()),
            "quarantine": sum(quarantine.values()),
        }

    def digest(self) -> str:
        """One digest of all sorted rows."""
        text = json.dumps([sorted(self.good.elements()), sorted(self.bad.elements())])
        return blake2b(text.encode(), digest_size=16).hexdigest()


def read_output(output: Path) -> Rows:
    """What the manifest of an output lists.

    Raises:
        FileNotFoundError: A file of it is not there.
    """
    manifest = json.loads((output / MANIFEST).read_text("utf-8"))
    return Rows(
        Counter(_good(output / file["name"] for file in manifest["files"])),
        Counter(_bad(output / name for name in manifest["quarantine"])),
    )


def _good(files: Iterable[Path]) -> Iterable[Row]:
    for file in files:
        for row in _table(file).to_pylist():
            yield row["shard"], row["key"], blake2b(_text(row), digest_size=16).hexdigest()


def _bad(files: Iterable[Path]) -> Iterable[str]:
    for file in files:
        for row in _table(file).to_pylist():
            yield _text(row).decode()


def _text(row: dict[str, Any]) -> bytes:
    """A row as text that is equal only where every bit of its numbers is: float32 and float64 are written in full."""
    return json.dumps(row, sort_keys=True, default=bytes.hex).encode()


def _table(file: Path) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(file.read_bytes())).read()


@dataclass
class Poller:
    """A thread that reads an output as readers do, while jobs write it.

    Every file is opened when it is first seen, and again whenever its inode, size or time has changed; the snapshot is
    read in full whenever the manifest has.

    Attributes:
        output: The folder.
        snapshots: Digests of the snapshots that the manifest may list.
        problems: What was seen and must not be.
        looks: How often it looked.
        files: How many files it opened.
        read: Digests of the snapshots that it read, in order.
    """

    output: Path
    snapshots: frozenset[str]
    problems: list[str] = field(default_factory=list)
    looks: int = 0
    files: int = 0
    read: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._manifest: str | None = None
        self._named: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def _watch(self) -> None:
        try:
            while not self._over.wait(LOOK_SECONDS):
                self.look()
        except Exception as error:  # noqa: BLE001 - a reader that fails is what this looks for
            self.problems.append(f"a reader failed: {type(error).__name__}: {error}")

    def look(self) -> None:
        """Looks once."""
        self.looks += 1
        for place in PLACES:
            for file in self.output.glob(place):
                self._open(file)
        self._read_manifest()

    def _open(self, file: Path) -> None:
        try:
            status = file.stat()
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._seen.get(file) == version:
                return
            with pq.ParquetFile(file) as opened:
                rows = sum(
                    opened.metadata.row_group(group).num_rows
                    for group in range(opened.num_row_groups)
                )
                if rows != opened.metadata.num_rows or not rows:
                    self.problems.append(f"{file.name} says that it has {rows} rows")
            self.files += 1
            self._seen[file] = version
        except FileNotFoundError:
            pass  # superseded since it was listed
        except (OSError, pa.ArrowException) as error:
            if file.exists():
                self.problems.append(f"{file.name} is visible and not whole: {error}")

    def _read_manifest(self) -> None:
        text = self._manifest_text()
        if text == self._manifest:
            self._check_named(text)
            return
        if text is None:
            self.problems.append("the manifest is gone")
            return
        try:
            digest = read_output(self.output).digest()
        except FileNotFoundError as error:
            if self._manifest_text() == text:
                self.problems.append(f"the manifest names {error.filename}, which is not there")
            return  # replaced meanwhile: the next look reads it
        if self._manifest_text() != text:
            return
        manifest = json.loads(text)
        self._manifest = text
        self._named = [*(file["name"] for file in manifest["files"]), *manifest["quarantine"]]
        if self.read[-1:] != [digest]:  # a snapshot whose files get other names is none of its own
            self.read.append(digest)
        if digest not in self.snapshots:
            self.problems.append(f"the manifest lists rows that no unkilled job wrote: {digest}")

    def _check_named(self, text: str | None) -> None:
        """The files of a manifest stay as long as it does."""
        gone = [name for name in self._named if not (self.output / name).exists()]
        if gone and self._manifest_text() == text:
            self.problems.append(f"the manifest names {gone[0]}, which is not there")

    def _manifest_text(self) -> str | None:
        try:
            return (self.output / MANIFEST).read_text("utf-8")
        except FileNotFoundError:
            return None
