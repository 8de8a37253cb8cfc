"""The written rows of a snapshot, a batch at a time: their keys, shards and embeddings."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, InputError, in_words
from pipeline.modalities.decoding.decoded import open_parquet
from pipeline.sample import KEY, SHARD

EMBEDDING = "embedding"
BATCH_BYTES = 8 << 20  # of embeddings that are held at a time
BUFFER_BYTES = 1 << 20  # of a column that is read at a time, however large its row group is
MODEL = "model"  # of the footer: the fingerprint of what wrote the rows


class Batch(NamedTuple):
    """Rows that follow each other.

    Attributes:
        first: Number of the first one, counted over all files.
        keys: Key of each.
        shards: Shard of each.
        vectors: (n, D) float; NaN, or anything, where there is none.
        present: (n,) bool, False where the row has no embedding.
    """

    first: int
    keys: pa.Array
    shards: pa.Array
    vectors: np.ndarray
    present: np.ndarray


class Place(NamedTuple):
    """A row by its number, shard and key."""

    row: int
    shard: str
    key: str


@dataclass(frozen=True)
class Written:
    """The files of one snapshot, all of one schema, which one model wrote.

    Attributes:
        output: The folder, for errors.
        files: Locations of the files, at least one.
    """

    output: str
    files: tuple[str, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, as the first file has them."""
        with self._open(self.files[0]) as file:
            return file.schema_arrow

    @property
    def model(self) -> str | None:
        """Fingerprint of the model that wrote the rows; None where the files do not say."""
        return _model(self.schema)

    @cached_property
    def starts(self) -> np.ndarray:
        """(files + 1,) int64: number of the first row of each file, and of all rows."""
        counts = []
        for url in self.files:
            with self._open(url) as file:
                counts.append(file.metadata.num_rows)
        return np.cumsum([0, *counts])

    @property
    def embeddings(self) -> Mapping[str, int]:
        """Columns that hold an embedding, by name, with their width; of those that are not, see :meth:`width`."""
        return {
            field.name: field.type.list_size
            for field in self.schema
            if _is_vector(field.type)
            and (field.name == EMBEDDING or field.name.endswith(f"_{EMBEDDING}"))
        }

    def width(self, column: str) -> int:
        """D of a column of vectors.

        Raises:
            ConfigError: There is no such column, or it holds something else.
        """
        embeddings = self.embeddings
        choices = f"columns that hold embeddings: {', '.join(embeddings)}" if embeddings else ""
        if column not in self.schema.names:
            what = f"there is no column {column}" if embeddings else "the rows hold no embeddings"
            fix = (
                choices or f"the columns are: {', '.join(self.schema.names)}; run jobs.infer first"
            )
            raise ConfigError(what, where=self.output, fix=fix)
        kind = self.schema.field(column).type
        if not _is_vector(kind):
            raise ConfigError(
                f"the column {column} is {kind}, and no vectors of one width",
                where=self.output,
                fix=choices,
            )
        return int(kind.list_size)

    def scan(self, column: str) -> Iterator[Batch]:
        """All rows in the order of the files, with one column of vectors; about ``BATCH_BYTES`` are held at a time.

        Raises:
            ConfigError: A file has other columns than the first, or another model wrote it.
            InputError: A file is gone, or damaged.
        """
        width = self.width(column)
        kind = self.schema.field(column).type
        rows = max(1, BATCH_BYTES // (width * (kind.value_type.bit_width // 8)))
        first = 0
        for url in self.files:
            with self._open(url) as file:
                self._check(url, file.schema_arrow, column)
                for batch in self._batches(file, url, rows, [KEY, SHARD, column]):
                    yield Batch(first, batch[KEY], batch[SHARD], *_vectors(batch[column], width))
                    first += batch.num_rows

    def find(self, key: str, shard: str | None = None) -> list[Place]:
        """The rows that have a key, in the order of their shards.

        Args:
            key: Which.
            shard: Only that of this shard.
        """
        self._require(self.schema, self.output, KEY, SHARD)
        places: list[Place] = []
        first = 0
        for url in self.files:
            with self._open(url) as file:
                for batch in self._batches(file, url, 1 << 16, [KEY, SHARD]):
                    hits = pc.equal(batch[KEY], key)
                    if shard is not None:
                        hits = pc.and_(hits, pc.equal(batch[SHARD], shard))
                    for row in np.flatnonzero(hits.fill_null(False).to_numpy(False)).tolist():
                        places.append(Place(first + row, batch[SHARD][row].as_py(), key))
                    first += batch.num_rows
        return sorted(places, key=lambda place: (place.shard, place.row))

    def fetch(self, rows: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some rows, in the order that they are asked for; only the row groups they lie in are read.

        Args:
            rows: Their numbers.
            columns: Their columns.
        """
        values_by_row: dict[int, dict[str, Any]] = {}
        distinct = np.unique(np.asarray(rows, dtype=np.int64))
        owners = np.searchsorted(self.starts, distinct, side="right") - 1
        for owner in np.unique(owners).tolist():
            url, first = self.files[owner], int(self.starts[owner])
            with self._open(url) as file:
                self._require(file.schema_arrow, url, *columns)
                for group, inside in _by_group(file, distinct[owners == owner] - first):
                    for row, values in self._rows(file, url, group, inside, columns):
                        values_by_row[first + row] = values
        return [values_by_row[row] for row in rows]

    def vector(self, row: int, column: str) -> np.ndarray | None:
        """(D,) float64, the embedding of one row; None where it has none."""
        width = self.width(column)
        value = self.fetch([row], [column])[0][column]
        return None if value is None else np.array(value, dtype=np.float64).reshape(width)

    def _rows(
        self, file: pq.ParquetFile, url: str, group: int, rows: np.ndarray, columns: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows of one row group, by their number in the file."""
        first = sum(file.metadata.row_group(earlier).num_rows for earlier in range(group))
        before = first
        for batch in self._batches(file, url, 1 << 12, columns, [group]):
            inside = rows[(rows >= before) & (rows < before + batch.num_rows)]
            picked = batch.take(pa.array(inside - before)).to_pylist() if len(inside) else []
            yield from zip(inside.tolist(), picked, strict=True)
            before += batch.num_rows

    def _batches(
        self,
        file: pq.ParquetFile,
        url: str,
        rows: int,
        columns: Sequence[str],
        groups: Sequence[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from file.iter_batches(
                batch_size=rows, columns=list(columns), row_groups=groups, use_threads=True
            )
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"the file cannot be read further: {in_words(error)}",
                where=url,
                fix="a night may have replaced it: run it again; if that does not help, run jobs.infer again",
            ) from error

    @contextlib.contextmanager
    def _open(self, url: str) -> Iterator[pq.ParquetFile]:
        try:
            file = open_parquet(url, buffer_bytes=BUFFER_BYTES)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"the file is no Parquet file: {in_words(error)}",
                where=url,
                fix="remove it, or run jobs.infer again",
            ) from None
        with file:
            yield file

    def _check(self, url: str, schema: pa.Schema, column: str) -> None:
        self._require(schema, url, KEY, SHARD, column)
        if schema.field(column).type != self.schema.field(column).type:
            raise ConfigError(
                f"{column} is {schema.field(column).type}, and {self.schema.field(column).type} in {self.files[0]}",
                where=url,
                fix="search the output of one job at a time",
            )
        if _model(schema) != self.model:
            raise ConfigError(
                f"the model {_model(schema)} wrote it, and {self.model} wrote {self.files[0]}",
                where=url,
                fix="embeddings of two models cannot be compared; search the output of one job at a time",
            )

    def _require(self, schema: pa.Schema, where: str, *columns: str) -> None:
        for name in columns:
            if name not in schema.names:
                raise ConfigError(
                    f"there is no column {name}",
                    where=where,
                    fix=f"the columns are: {', '.join(schema.names)}",
                )


def _model(schema: pa.Schema) -> str | None:
    model = (schema.metadata or {}).get(MODEL.encode())
    return None if model is None else model.decode("utf-8", "replace")


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))


def _vectors(column: pa.FixedSizeListArray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, D) values and (n,) whether there are any, of a slice of a column."""
    flat = column.values.slice(column.offset * width, len(column) * width)
    values = flat.to_numpy(zero_copy_only=False).reshape(len(column), width)
    return values, column.is_valid().to_numpy(zero_copy_only=False)


def _by_group(file: pq.ParquetFile, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Row groups that hold some of the rows of a file, with these."""
    sizes = (file.metadata.row_group(index).num_rows for index in range(file.num_row_groups))
    starts = np.fromiter(itertools.accumulate(sizes, initial=0), np.int64)
    owners = np.searchsorted(starts, rows, side="right") - 1
    for owner in np.unique(owners).tolist():
        yield owner, rows[owners == owner]
