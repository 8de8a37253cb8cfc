"""Rows of many parts in files of the right size; a file is made of whole parts, one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipeline import runs, storage
from pipeline.errors import ConfigError
from pipeline.sample import ORDINAL
from pipeline.sinks.files.base import RowFiles
from pipeline.sinks.files.parquet import ParquetFiles
from pipeline.sinks.folder import PREFIX, QUARANTINE, attempt_name
from pipeline.sinks.quarantine import as_quarantine
from pipeline.sinks.snapshots.manifest import PartRows, SnapshotFile
from pipeline.sinks.snapshots.settings import SnapshotSettings

SMALL_FILES = 32  # of one folder, from which on they are merged with one another
PUBLISHED_BYTES = 256 << 20  # of rows of earlier files, that are kept for the next parts


class Place(NamedTuple):
    """Where a part's rows lie in a file of a snapshot.

    Attributes:
        file: Name of the file.
        first: Its first row there.
        rows: How many.
        retry: The attempt that they are of.
        size: Bytes, about.
    """

    file: str
    first: int
    rows: int
    retry: int
    size: int


@dataclass(frozen=True)
class Piece:
    """The rows of a part that go into a new file.

    Attributes:
        part: Identity of the part.
        shard: Its shard.
        retry: How often its bad samples were tried again.
        rows: How many.
        place: Where those of the last snapshot lie; None where it has none that are still good.
        names: Its own files, in the order of the attempts, that come on top of them.
        size: Bytes, about.
        folder: In the output folder, where they go; ends with a slash unless it is empty.
    """

    part: str
    shard: str
    retry: int
    rows: int
    place: Place | None
    names: tuple[str, ...]
    size: int
    folder: str = ""


def places(files: Iterable[SnapshotFile]) -> dict[str, Place]:
    """Part -> where its rows lie."""
    place_by_part = {}
    for file in files:
        first = 0
        for part in file.parts:
            size = file.bytes * part.rows // max(1, file.rows)
            place_by_part[part.id] = Place(file.name, first, part.rows, part.retry, size)
            first += part.rows
    return place_by_part


def groups(pieces: Iterable[Piece], config: SnapshotSettings) -> Iterator[list[Piece]]:
    """Neighbouring pieces of one folder that together fill a file; a large one is a file of its own.

    Where files do not mix shards, those of a group are of one shard as well.
    """
    limit, large = config.file_mb << 20, config.min_file_mb << 20
    group: list[Piece] = []
    filled, family = 0, ("", "")
    for piece in pieces:
        before, family = family, _family(piece.folder, piece.shard, config)
        full = filled + piece.size > limit or piece.size >= large
        if group and (full or family != before):
            yield group
            group, filled = [], 0
        if piece.size >= large:
            yield [piece]
            continue
        group.append(piece)
        filled += piece.size
    if group:
        yield group


def too_many(files: Sequence[SnapshotFile], config: SnapshotSettings) -> set[str]:
    """Names of small files, where a folder has ``SMALL_FILES`` of them or more that could be one.

    Every night leaves one that it had no others to merge with. A row is rewritten once in so many nights, until its
    file is large.
    """
    limit = min(config.min_file_mb << 20, (config.file_mb << 20) // 8)  # many fit into one
    small = defaultdict[tuple[str, str], list[str]](list)
    for file in files:
        if file.bytes < limit:
            small[_family(folder_of(file.name), file.parts[0].shard, config)].append(file.name)
    return {name for names in small.values() if len(names) >= SMALL_FILES for name in names}


def _family(folder: str, shard: str, config: SnapshotSettings) -> tuple[str, str]:
    """What rows of one file have in common: the folder, and the shard where files of data do not mix shards."""
    return folder, "" if config.MIXES_SHARDS or folder == f"{QUARANTINE}/" else shard


def folder_of(name: str) -> str:
    """The folder of a file; ends with a slash unless it is the output folder itself."""
    return name[: name.rfind("/") + 1]


@dataclass
class Merger:
    """Makes files of a snapshot. Picklable: it works on any node.

    Attributes:
        output: The output folder.
        config: Sizes of files, and how rows lie in them.
        order: What the rows of a part are sorted by where two attempts are joined; empty where the last one has all.
        fingerprint: Of what the rows depend on: the same parts with other rows are another file.
        room: Folder in the output where the files wait until they are shown; ends with a slash unless it is empty.
    """

    output: str
    config: SnapshotSettings
    order: tuple[str, ...]
    fingerprint: str
    room: str = ""
    _read: dict[str, pa.Table] = field(default_factory=dict, repr=False)

    def __call__(self, pieces: Sequence[Piece]) -> SnapshotFile:
        """Makes one file, part by part; memory holds one part, and those that are read ahead."""
        names = [attempt_name(piece.part, piece.retry) for piece in pieces]
        digest = runs.fingerprint([self.fingerprint, *names])[:16]
        first = pieces[0]
        files = self._files(first.folder)
        name = f"{first.folder}{PREFIX}{digest}{files.suffix}"
        rows = sum(piece.rows for piece in pieces)
        if len(pieces) == 1 and first.place is None and len(first.names) == 1:
            size = first.size
            self._take_over(first, name)
        else:
            # 100,000 tiny files of a store would be read for an hour, one after the other.
            new = storage.read_ahead(self._new_rows, pieces, lambda piece: piece.size)
            tables = (self._rows(piece, tables) for piece, tables in zip(pieces, new, strict=True))
            url = self._url(self.room + name)
            with storage.create(
                url, replace=False, check=lambda file: files.check(file, rows)
            ) as file:
                files.write(file, tables)
            size = file.num_bytes
        parts = tuple(
            PartRows(piece.part, piece.shard, piece.rows, piece.retry) for piece in pieces
        )
        return SnapshotFile(name, rows, size, parts)

    def _take_over(self, piece: Piece, name: str) -> None:
        """Makes a part's only file one of the snapshot, as it is."""
        url = self._url(piece.names[0])
        if not storage.exists(url):
            raise self._gone(piece)
        storage.copy(url, self._url(self.room + name))

    def _new_rows(self, piece: Piece) -> list[pa.Table]:
        """Those of each of a part's own files."""
        try:
            return [self._table(name) for name in piece.names]
        except FileNotFoundError:
            raise self._gone(piece) from None

    def _rows(self, piece: Piece, new: list[pa.Table]) -> pa.Table:
        """A part's rows: its first ones, and those of bad samples that have become good since."""
        tables = new if piece.place is None else [self._published(piece.place), *new]
        if len(tables) == 1:
            return tables[0]
        # Ordinals are not written; keys are unique within a shard.
        order = [(name, "ascending") for name in self.order if name != ORDINAL]
        return pa.concat_tables(tables).sort_by(order)

    def _gone(self, piece: Piece) -> ConfigError:
        return ConfigError(
            f"the rows of part {piece.part} are gone",
            where=self.output,
            fix="remove the output folder and run the job again",
        )

    def _published(self, place: Place) -> pa.Table:
        """Rows of the last snapshot; a file is read once for parts that are near to one another."""
        table = self._read.pop(place.file, None)
        if table is None:
            table = self._table(place.file)
        self._read[place.file] = table  # at the end: what was used last goes last
        while len(self._read) > 1 and self._held() > PUBLISHED_BYTES:
            del self._read[next(iter(self._read))]
        return table.slice(place.first, place.rows)

    def _table(self, name: str) -> pa.Table:
        rows = self._files(folder_of(name)).read(self._url(name))
        return as_quarantine(rows) if name.startswith(f"{QUARANTINE}/") else rows

    def _files(self, folder: str) -> RowFiles:
        """How rows lie in the files of a folder: the quarantine is always Parquet."""
        return ParquetFiles() if folder == f"{QUARANTINE}/" else self.config.files

    def _held(self) -> int:
        return sum(int(table.nbytes) for table in self._read.values())

    def _url(self, name: str) -> str:
        return storage.join(self.output, name)
