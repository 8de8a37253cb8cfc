"""The sources of packing: tables of file paths, texts and labels (:mod:`.folder` reads folders)."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, SampleError
from pipeline.shards.names import check_extensions, check_key, is_extension

# A column for one of these fields holds the value itself; for any other, a path to a file.
VALUE_FIELDS = frozenset({"txt", "text", "caption", "transcript", "cls", "label", "id", "json"})

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample that can be packed, its files not read yet.

    Attributes:
        key: Name of the sample.
        group: What is hashed to choose the split.
        origin: Where it comes from, for messages: ``faces.csv line 17``.
        ordinal: Position in the source, counted from 0.
        fields: Extension -> content, or the file that holds it.
    """

    key: str
    group: str
    origin: str
    ordinal: int
    fields: Mapping[str, bytes | Path]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A sample of the source that cannot be packed.

    Attributes:
        key: Name of the sample, None where it could not be told.
        field: The field at fault, empty if it is not one field.
        reason: ``missing_file``, ``unreadable``, ``bad_key``, ``bad_row``, ``bad_metadata``,
            ``no_modality`` (no field has a value) or ``no_extension``.
        detail: What is wrong, in words.
        origin: Where it comes from.
        ordinal: Position in the source, counted from 0.
    """

    key: str | None
    field: str
    reason: str
    detail: str
    origin: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class _Column:
    field: str
    name: str
    is_path: bool


def read_table(
    table: Path,
    columns: Mapping[str, str],
    *,
    key: str | None = None,
    group: str | None = None,
) -> Iterator[Entry | Rejected]:
    """Reads a CSV, TSV, JSONL or Parquet table, one sample a row, in the table's order.

    ``columns`` says which column holds which field: ``{jpg: path, txt: caption, cls: label}``. For
    the fields txt, text, caption, transcript, cls, label, id and json the column holds the
    value itself; for any other field it holds the path of a file, relative to the table. To say
    otherwise, put ``path:`` or ``value:`` before the column's name: ``{txt: path:caption_file}``.
    Binary cells of Parquet, also as a struct of ``bytes`` and ``path``, are the content itself.

    An empty cell (or null, or NaN) means that the sample lacks the field. Numbers and lists become
    their JSON text; a json field must hold valid JSON.

    Args:
        table: A local file that ends in .csv, .tsv, .jsonl, .ndjson or .parquet, in UTF-8.
        columns: Field -> column.
        key: Column of the keys. Without one, rows are numbered from 00000000, so that inserting a
            row renames those after it.
        group: Column whose value is hashed for the split instead of the key; where it is empty,
            the key is.

    Yields:
        Samples, and rows that cannot be used.

    Raises:
        ConfigError: The table cannot be read, or has no such column.
    """
    chosen = _parse_columns(columns, table)
    wanted = [column.name for column in chosen] + [name for name in (key, group) if name]
    for ordinal, (place, row) in enumerate(_read_rows(table, wanted)):
        origin = f"{table.name} {place}"
        name: str | None = None
        try:
            if isinstance(row, str):
                raise SampleError(row, reason="bad_row")
            name = _text(row.get(key)) if key else f"{ordinal:08d}"
            check_key(name)
            fields = dict(_read_fields(row, chosen, table.parent))
            check_extensions(fields)
            split_group = (_text(row.get(group)) if group else "") or name
            yield Entry(name, split_group, origin, ordinal, fields)
        except SampleError as error:
            yield Rejected(name, error.field, error.reason, error.what, origin, ordinal)


def _parse_columns(columns: Mapping[str, str], table: Path) -> list[_Column]:
    if not columns:
        raise ConfigError(
            "nothing says which columns of the table hold which fields",
            where=f"pack.columns, {table.name}",
            fix="set it, for example pack.columns={jpg: image_path, txt: caption, cls: label}",
        )
    parsed = []
    for field, column in columns.items():
        if not is_extension(field):
            raise ConfigError(
                f"{field!r} cannot be a field's extension",
                where="pack.columns",
                fix="use lower-case letters and digits, such as jpg or seg.png",
            )
        kind, colon, name = column.partition(":")
        if colon and kind in ("path", "value"):
            parsed.append(_Column(field, name, kind == "path"))
        else:
            parsed.append(_Column(field, column, field.rsplit(".")[-1] not in VALUE_FIELDS))
    return parsed


def _read_fields(
    row: Mapping[str, Any], columns: list[_Column], folder: Path
) -> Iterator[tuple[str, bytes | Path]]:
    for column in columns:
        value = row.get(column.name)
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            value = value["bytes"]
        if isinstance(value, bytes) and value:
            yield column.field, value
            continue
        text = _text(value)
        if not text:
            continue
        yield column.field, _file(folder, text, column) if column.is_path else _encode(text, column)


def _file(folder: Path, text: str, column: _Column) -> Path:
    path = folder / text
    try:
        if path.is_file():
            return path
        problem = "is a folder" if path.is_dir() else "does not exist"
    except (OSError, ValueError):
        problem = "is not a path"
    raise SampleError(f"the file {text!r} {problem}", reason="missing_file", field=column.field)


def _encode(text: str, column: _Column) -> bytes:
    if column.field.rsplit(".")[-1] == "json":
        try:
            json.loads(text)
        except ValueError as error:
            raise SampleError(
                f"not JSON: {error}", reason="bad_metadata", field=column.field
            ) from error
    return text.encode("utf-8", "replace")


def _text(value: Any) -> str:
    """Text of a cell; empty where the cell is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _read_rows(table: Path, wanted: list[str]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yields where a row is, and the row, or what is wrong with it."""
    suffix = table.suffix.lower()
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet}
    try:
        yield from readers.get(suffix, _read_jsonl)(table, wanted)
    except UnicodeDecodeError as error:
        raise ConfigError(
            "the table is not UTF-8 text", where=str(table), fix="convert it to UTF-8"
        ) from error
    except (OSError, pa.ArrowInvalid, csv.Error) as error:
        raise ConfigError(
            f"the table cannot be read: {error}", where=str(table), fix="check pack.source"
        ) from error


def _read_csv(table: Path, wanted: list[str]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter="\t" if table.suffix.lower() == ".tsv" else ",")
        header = next(rows, [])
        _check_columns(header, wanted, table)
        for cells in rows:
            if not cells:
                continue
            place = f"line {rows.line_num}"
            if len(cells) == len(header):
                yield place, dict(zip(header, cells, strict=True))
            else:
                yield place, f"{len(cells)} cells where the header has {len(header)}"


def _read_jsonl(table: Path, wanted: list[str]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    seen: set[str] = set()
    with table.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            place = f"line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield place, f"not JSON: {error}"
                continue
            if isinstance(row, dict):
                seen |= row.keys()
                yield place, row
            else:
                yield place, "not a JSON object"
    if seen:
        _check_columns(sorted(seen), wanted, table)  # at the end: a row may leave out what it lacks


def _read_parquet(table: Path, wanted: list[str]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with pq.ParquetFile(table) as file:
        _check_columns(file.schema_arrow.names, wanted, table)
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=list(dict.fromkeys(wanted))):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row


def _check_columns(present: list[str], wanted: list[str], table: Path) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise ConfigError(
            f"the table has no column {missing[0]!r}; it has: {', '.join(present) or 'none'}",
            where=f"{table}",
            fix="correct pack.columns, pack.key or pack.group",
        )
