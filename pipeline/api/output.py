"""What preprocess and infer wrote, as arrays: whole columns, or a row group at a time."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.modalities.codecs import dense_column
from pipeline.modalities.decoding.decoded import open_parquet
from pipeline.sample import KEY
from pipeline.sinks.snapshots.manifest import read_manifest

Values = np.ndarray | list[object]


class Column(NamedTuple):
    """A column of arrays of one shape.

    Attributes:
        values: (N, ...) in the column's own dtype; zeros where a row has none.
        present: (N,) bool, True where a row has a value.
    """

    values: np.ndarray
    present: np.ndarray


def open_output(folder: str | os.PathLike[str]) -> Output:
    """Opens what a job wrote.

    Args:
        folder: Folder or URL that ``preprocess`` or ``infer`` wrote.

    Raises:
        ConfigError: No job has written there.
        InputError: A file cannot be read.
    """
    return Output(os.fspath(folder))


class Output:
    """The rows of a snapshot: each sample once, whatever else lies in the folder. Made by :func:`pipeline.open_output`.

    Attributes:
        shapes: Column -> shape of its values: ``()`` of numbers and texts, and None of lists that differ in size.
    """

    def __init__(self, folder: str) -> None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise ConfigError(
                "no job has written here",
                where=folder,
                fix="name the folder that preprocess or infer wrote, such as RUN/decoded",
            )
        self._folder, self._num_rows = folder, manifest.num_rows
        self._urls = [storage.join(folder, file.name) for file in manifest.files]
        self._schema = open_parquet(self._urls[0]).schema_arrow if self._urls else pa.schema([])
        self.shapes: Mapping[str, tuple[int, ...] | None] = {
            field.name: _shape(field) for field in self._schema
        }

    def __len__(self) -> int:
        return self._num_rows

    def groups(
        self, columns: Sequence[str] | None = None, *, keys: Collection[str] | None = None
    ) -> Iterator[dict[str, Values]]:
        """The rows, a row group at a time: no more than one is held in memory.

        Args:
            columns: Names; all where None.
            keys: Gives only the rows that have one of these.

        Yields:
            Column -> values: arrays of shape (n, ...) where all rows have one, and else a list with an array, a text
            or None a row.

        Raises:
            ConfigError: There is no such column.
        """
        names = self._names(columns)
        for table in self._tables(names, keys):
            yield {name: self._values(table[name], name) for name in names}

    def arrays(self, column: str, *, keys: Collection[str] | None = None) -> Column:
        """A whole column in memory.

        Args:
            column: Its name; its values have one shape.
            keys: Takes only the rows that have one of these.

        Raises:
            ConfigError: There is no such column, or its values differ in size or are texts.
        """
        [name] = self._names([column])
        shape, kind = self.shapes[name], self._schema.field(name).type
        if shape is None or (not shape and not _is_number(kind)):
            what = "differ in size" if shape is None else "are no numbers"
            raise ConfigError(
                f"the values of {name} {what}",
                where=self._folder,
                fix="go through groups(), which gives a list of them",
            )
        pieces = [dense(table[name], shape) for table in self._tables([name], keys)]
        if not pieces:
            dtype = (kind.value_type if shape else kind).to_pandas_dtype()
            return Column(np.zeros((0, *shape), dtype), np.zeros(0, bool))
        return Column(
            np.concatenate([piece.values for piece in pieces]),
            np.concatenate([piece.present for piece in pieces]),
        )

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        if columns is None:
            return list(self.shapes)
        for name in columns:
            if name not in self.shapes:
                raise ConfigError(
                    f"there is no column {name}",
                    where=self._folder,
                    fix=f"the columns are {', '.join(self.shapes) or 'none: no row was written'}",
                )
        return list(columns)

    def _tables(self, names: Sequence[str], keys: Collection[str] | None) -> Iterator[pa.Table]:
        """The row groups that have a row."""
        for url in self._urls:
            file = open_parquet(url)
            for number in range(file.num_row_groups):
                table = _row_group(file, number, names, keys)
                if table.num_rows:
                    yield table

    def _values(self, column: pa.ChunkedArray, name: str) -> Values:
        shape, kind = self.shapes[name], column.type
        if shape is None and _is_number(kind.value_type):
            return [
                np.array(value.values.to_numpy(zero_copy_only=False)) if value.is_valid else None
                for value in column
            ]
        if shape is None or (not shape and (column.null_count or not _is_number(kind))):
            values: list[object] = column.to_pylist()
            return values
        values_of_rows, present = dense(column, shape)
        if present.all():
            return values_of_rows
        pairs = zip(values_of_rows, present, strict=True)
        return [value if there else None for value, there in pairs]


def _row_group(
    file: pq.ParquetFile, number: int, names: Sequence[str], keys: Collection[str] | None
) -> pa.Table:
    """A row group, or those of its rows that have one of the keys; without them, only the keys are read."""
    if keys is None:
        return file.read_row_group(number, columns=list(names))
    column = file.read_row_group(number, columns=[KEY])[KEY]
    mask = pc.is_in(column, value_set=pa.array(list(keys), pa.string()))
    if not pc.any(mask).as_py():
        return pa.table({KEY: column.slice(0, 0)})
    return file.read_row_group(number, columns=list(names)).filter(mask)


def _shape(field: pa.Field) -> tuple[int, ...] | None:
    shape = (field.metadata or {}).get(b"shape")
    if shape:
        return tuple(map(int, shape.split(b",")))
    if pa.types.is_fixed_size_list(field.type):
        return (field.type.list_size,)
    return None if pa.types.is_nested(field.type) else ()


def dense(column: pa.ChunkedArray, shape: tuple[int, ...]) -> Column:
    """The values of a column of numbers, with memory of their own."""
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    if shape:
        values, present = dense_column(array, shape)
        return Column(np.array(values), present)
    present = np.asarray(array.is_valid())
    zero = pa.scalar(0).cast(array.type)
    return Column(np.array(pc.fill_null(array, zero).to_numpy(zero_copy_only=False)), present)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
