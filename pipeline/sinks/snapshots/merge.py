"""Rows of many parts in files of the right size; a file is made of whole parts, one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import runs, storage
from pipeline.errors import ConfigError, SinkError, in_words
from pipeline.sample import ORDINAL
from pipeline.sinks.folder import PREFIX, QUARANTINE, attempt_name
from pipeline.sinks.layout import write_tables
from pipeline.sinks.quarantine import as_quarantine
from pipeline.sinks.records import PartFile
from pipeline.sinks.settings import ParquetSettings
from pipeline.sinks.snapshots.manifest import PartRows, SnapshotFile

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


def groups(pieces: Iterable[Piece], config: ParquetSettings) -> Iterator[list[Piece]]:
    """Neighbouring pieces of one folder that together fill a file; a large one is a file of its own."""
    limit, large = config.file_mb << 20, config.min_file_mb << 20
    group: list[Piece] = []
    filled = 0
    for piece in pieces:
        full = filled + piece.size > limit or piece.size >= large
        if group and (full or piece.folder != group[0].folder):
            yield group
            group, filled = [], 0
        if piece.size >= large:
            yield [piece]
            continue
        group.append(piece)
        filled += piece.size
    if group:
        yield group


def too_many(files: Sequence[SnapshotFile], config: ParquetSettings) -> set[str]:
    """Names of small files, where a folder has ``SMALL_FILES`` of them or more.

    Every night leaves one that it had no others to merge with. A row is rewritten once in so many nights, until its
    file is large.
    """
    limit = min(config.min_file_mb << 20, (config.file_mb << 20) // 8)  # many fit into one
    small = defaultdict[str, list[str]](list)
    for file in files:
        if file.bytes < limit:
            small[folder_of(file.name)].append(file.name)
    return {name for names in small.values() if len(names) >= SMALL_FILES for name in names}


def folder_of(name: str) -> str:
    """The folder of a file; ends with a slash unless it is the output folder itself."""
    return name[: name.rfind("/") + 1]


@dataclass
class Merger:
    """Makes files of a snapshot. Picklable: it works on any node.

    Attributes:
        output: The output folder.
        config: Sizes of files and row groups.
        order: What the rows of a part are sorted by where two attempts are joined; empty where the last one has all.
        fingerprint: Of what the rows depend on: the same parts with other rows are another file.
        room: Folder in the output where the files wait until they are shown; ends with a slash unless it is empty.
    """

    output: str
    config: ParquetSettings
    order: tuple[str, ...]
    fingerprint: str
    room: str = ""
    _read: dict[str, pa.Table] = field(default_factory=dict, repr=False)

    def __call__(self, pieces: Sequence[Piece]) -> SnapshotFile:
        """Makes one file, part by part; memory holds one part, and those that are read ahead."""
        names = [attempt_name(piece.part, piece.retry) for piece in pieces]
        digest = runs.fingerprint([self.fingerprint, *names])[:16]
        first = pieces[0]
        name = f"{first.folder}{PREFIX}{digest}.parquet"
        rows = sum(piece.rows for piece in pieces)
        if len(pieces) == 1 and first.place is None and len(first.names) == 1:
            size = first.size
            self._take_over(first, name)
        else:
            # 100,000 tiny files of a store would be read for an hour, one after the other.
            new = storage.read_ahead(self._new_rows, pieces, lambda piece: piece.size)
            tables = (self._rows(piece, tables) for piece, tables in zip(pieces, new, strict=True))
            url = self._url(self.room + name)
            with storage.create(url, replace=False, check=has_rows(rows)) as file:
                write_tables(file, tables, self.config.row_group_mb << 20)
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
        rows = read_table(self._url(name))
        return as_quarantine(rows) if name.startswith(f"{QUARANTINE}/") else rows

    def _held(self) -> int:
        return sum(int(table.nbytes) for table in self._read.values())

    def _url(self, name: str) -> str:
        return storage.join(self.output, name)


def write_rows(
    output: str, folder: str, name: str, rows: pa.Table, config: ParquetSettings
) -> PartFile:
    """Writes rows of one attempt at a part; the file's name tells of its content, so that two never disagree.

    Args:
        output: The output folder.
        folder: In it, ``_parts`` or ``_quarantine``.
        name: Begin of the file's name.
        rows: What is written.
        config: Size of row groups.

    """
    url = storage.join(output, folder, f"{name}.parquet")
    with storage.create(url, replace=False, check=has_rows(rows.num_rows)) as file:
        write_tables(file, [rows], config.row_group_mb << 20)
        full_name = f"{name}.{file.crc32:08x}.parquet"
        file.url = storage.join(output, folder, full_name)
    return PartFile(f"{folder}/{full_name}", rows.num_rows, file.num_bytes, f"{file.crc32:08x}")


def has_rows(rows: int) -> Callable[[IO[bytes]], None]:
    """Checks that a file that was written can be opened, and has so many rows."""

    def check(file: IO[bytes]) -> None:
        try:
            num_rows = pq.ParquetFile(file).metadata.num_rows
        except pa.ArrowInvalid as error:
            raise SinkError(
                f"the file that was just written cannot be read: {in_words(error)}",
                fix="check the disk, and run the job again",
            ) from error
        if num_rows != rows:
            raise SinkError(
                f"the file that was just written has {num_rows} rows instead of {rows}",
                fix="check the disk, and run the job again",
            )

    return check


def read_table(url: str) -> pa.Table:
    """All rows of a Parquet file.

    Raises:
        FileNotFoundError: There is none.
    """
    if storage.is_local(url):
        return pq.ParquetFile(storage.local_path(url), memory_map=True).read()
    return pq.ParquetFile(pa.BufferReader(storage.read_bytes(url))).read()
