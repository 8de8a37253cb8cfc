"""Tables as a source of packing: one sample a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, SampleError
from pipeline.packing.config import PackConfig
from pipeline.packing.entries import Entry, Rejected
from pipeline.packing.keys import escape_key
from pipeline.packing.reading import Reading
from pipeline.packing.split import check_split_name
from pipeline.packing.tables.cells import (
    content_of,
    file_of,
    is_empty,
    is_media,
    text_of,
    whole_number,
    whole_numbers,
)
from pipeline.packing.tables.columns import Column, Columns, named_columns
from pipeline.packing.tables.table import Row, column_names, read_table
from pipeline.shards.tar.names import check_extensions


def read_rows(
    table: Path, config: PackConfig, reading: Reading, notes: list[str]
) -> Iterator[Entry | Rejected]:
    """Reads a CSV, TSV, JSONL or Parquet table, one sample a row, in the table's order.

    ``columns`` says which column holds which field: ``{jpg: photo, txt: caption, cls: label}``. Columns of texts,
    labels and metadata hold the value itself, those of pictures and sounds the path of a file, from the table's folder
    or ``root``; of other columns their cells tell. ``values``, ``text_from_file`` and ``path:`` or ``value:`` before a
    column's name say otherwise. Bytes in a cell, also as the ``bytes`` and ``path`` of Hugging Face's datasets, are the
    content.

    An empty cell (or null, or NaN) means that the sample lacks the field. Dates become ISO 8601, lists and objects
    JSON.

    Args:
        table: A local file that ends in .csv, .tsv, .jsonl, .ndjson or .parquet.
        config: Which columns hold what.
        reading: How the other jobs read fields.
        notes: Gets a sentence for whatever had to be guessed, or looks like a mistake.

    Yields:
        Samples, and rows that cannot be used.

    Raises:
        ConfigError: The table cannot be read, has no such column, or none that any modality reads.
    """
    present = column_names(table, config.delimiter, config.encoding)
    named = named_columns(config.columns, present)
    _check_fields(named.keys(), table, present, reading)
    special = (config.key, config.group, config.split_column)
    columns_read = [name for _, name in named.values()] + [name for name in special if name]
    read = read_table(table, columns_read, delimiter=config.delimiter, encoding=config.encoding)
    notes += read.notes
    root = _root(table, config)
    columns = Columns(config, reading, read.rows, root)
    chosen = [columns.choose(field, kind, name) for field, (kind, name) in named.items()]
    notes += columns.notes
    integral = frozenset(
        name for name in special if name and whole_numbers(row.cells.get(name) for row in read.rows)
    )
    rows = _Rows(table, root, config, reading, chosen, integral)
    for ordinal, row in enumerate(read.rows):
        yield rows.entry(ordinal, row)


def _root(table: Path, config: PackConfig) -> Path:
    if config.root is None:
        return table.parent
    root = Path(config.root)
    if not root.is_dir():
        raise ConfigError(
            "there is no such folder", where=f"pack.root={root}", fix="check pack.root"
        )
    return root


def _check_fields(
    fields: Iterable[str], table: Path, present: Sequence[str], reading: Reading
) -> None:
    names = list(fields)
    if not names:
        raise ConfigError(
            f"nothing says which columns of the table hold which fields; it has: {', '.join(present)}",
            where=f"pack.columns, {table.name}",
            fix="set it, for example pack.columns={jpg: image_path, txt: caption, cls: label}",
        )
    if not any(name in reading.modality_of for name in names):
        raise ConfigError(
            f"no modality reads any of the fields {', '.join(names)}, so every sample would be refused",
            where=f"pack.columns, {table.name}",
            fix=f"use the fields that are read ({', '.join(reading.modality_of)}), or change modalities.NAME.fields",
        )


@dataclass(frozen=True)
class _Rows:
    """Makes samples of rows.

    Attributes:
        table: The table.
        root: The folder that paths count from.
        config: The settings of packing.
        reading: How the other jobs read fields.
        columns: What each column becomes.
        whole: Columns of keys and groups whose numbers, written ``1.0``, are whole.
    """

    table: Path
    root: Path
    config: PackConfig
    reading: Reading
    columns: Sequence[Column]
    whole: frozenset[str]

    def entry(self, ordinal: int, row: Row) -> Entry | Rejected:
        """The sample of a row, or why it is none."""
        origin = f"{self.table.name} {row.place}"
        name: str | None = None
        try:
            if row.problem:
                raise SampleError(row.problem, reason="bad_row")
            key = self._named(row, self.config.key) if self.config.key else f"{ordinal:08d}"
            name = key
            name = escape_key(key)
            fields = dict(self._fields(row))
            check_extensions(fields)
            group = (self._named(row, self.config.group) if self.config.group else "") or name
            split = self._split(row)
            return Entry(name, group, origin, ordinal, fields, split)
        except SampleError as error:
            return Rejected.of(error, name, origin, ordinal)

    def _named(self, row: Row, column: str) -> str:
        value = row.cells.get(column)
        return whole_number(value) if column in self.whole else text_of(value)

    def _split(self, row: Row) -> str:
        if self.config.split_column is None:
            return ""
        name = self._named(row, self.config.split_column).strip()
        check_split_name(name, self.config.split_column)
        return name

    def _fields(self, row: Row) -> Iterator[tuple[str, bytes | Path]]:
        for column in self.columns:
            value = row.cells.get(column.name)
            is_path = column.is_path
            if is_media(value) and not column.field.endswith("json"):
                value = content_of(value, column.field)
                is_path = True
            if isinstance(value, bytes):
                yield column.field, value
            elif is_empty(value):
                continue
            else:
                yield column.field, self._content(value, column, is_path=is_path)

    def _content(self, value: object, column: Column, *, is_path: bool) -> bytes | Path:
        try:
            text = whole_number(value) if column.is_whole else text_of(value)
        except SampleError as error:
            raise SampleError(
                error.what, reason=error.reason, field=column.field, setting=error.setting
            ) from None
        if is_path:
            allow_outside = self.config.allow_outside
            return file_of(text, self.root, column.field, allow_outside=allow_outside)
        return self.reading.encode(column.field, text)
