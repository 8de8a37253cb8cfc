"""The rows of CSV, TSV, JSONL and Parquet tables."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, in_words
from pipeline.packing.tables.delimited import BROKEN, Encoding, find_encoding, read_delimited

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        place: Where it stands: ``line 17``.
        cells: Column -> value, of the columns that are asked for; what a row lacks is left out.
        problem: Why the row cannot be used; empty where it can.
    """

    place: str
    cells: Mapping[str, object]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What was read of a table.

    Attributes:
        rows: All rows.
        notes: What its reader had to guess.
    """

    rows: list[Row]
    notes: list[str]


def read_table(
    path: Path, wanted: Sequence[str], *, delimiter: str | None = None, encoding: str | None = None
) -> Table:
    """Reads some columns of a table; a row that cannot be read says why.

    Args:
        path: A local file that ends in one of ``TABLE_SUFFIXES``.
        wanted: The columns.
        delimiter: What stands between the cells of a CSV; found by looking where None.
        encoding: Of a CSV or JSONL table; found by looking where None.

    Raises:
        ConfigError: The table cannot be read, or lacks a column.
    """
    suffix = path.suffix.lower()
    notes: list[str] = []
    try:
        if suffix == ".parquet":
            return Table(list(_read_parquet(path, wanted)), notes)
        text = find_encoding(path, encoding)
        if text.guessed:
            notes.append(
                f"{path.name} was read as {text.name}, which was guessed: if characters are wrong, set pack.encoding"
            )
        if suffix in (".jsonl", ".ndjson"):
            return Table(list(_read_jsonl(path, wanted, text)), notes)
        return Table(list(_read_csv(path, wanted, text, delimiter)), notes)
    except (OSError, UnicodeError, pa.ArrowException, csv.Error) as error:
        raise ConfigError(
            f"the table cannot be read: {in_words(error)}", where=str(path), fix="check pack.source"
        ) from error


def _read_csv(
    path: Path, wanted: Sequence[str], encoding: Encoding, delimiter: str | None
) -> Iterator[Row]:
    rows = read_delimited(path, encoding.name, wanted, delimiter)
    header = [name.strip() for name in next(rows, ("", []))[1]]
    check_columns(header, wanted, path)
    chosen = [(header.index(name), name) for name in dict.fromkeys(wanted)]
    for place, cells in rows:
        if len(cells) != len(header):
            problem = f"{len(cells)} cells where the header has {len(header)}"
            yield Row(place, {}, problem)
            continue
        values = {name: cells[index] for index, name in chosen}
        broken = next((name for name, text in values.items() if BROKEN.search(text)), None)
        if broken is not None:
            yield Row(place, values, f"the column {broken} is not {_readable(encoding)}")
        else:
            yield Row(place, values)


def _read_jsonl(path: Path, wanted: Sequence[str], encoding: Encoding) -> Iterator[Row]:
    seen: set[str] = set()
    with path.open(encoding=encoding.name, errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row = _parse(f"line {number}", line, wanted, encoding, seen)
            yield row
    if seen:
        # At the end, since a row may leave out what it lacks.
        check_columns(sorted(seen), wanted, path)


def _parse(place: str, line: str, wanted: Sequence[str], encoding: Encoding, seen: set[str]) -> Row:
    if BROKEN.search(line):
        return Row(place, {}, f"the row is not {_readable(encoding)}")
    try:
        cells = json.loads(line)
    except ValueError as error:
        return Row(place, {}, f"not JSON: {in_words(error)}")
    except RecursionError:
        return Row(place, {}, "not JSON: nested too deeply")
    if not isinstance(cells, dict):
        return Row(place, {}, "not a JSON object")
    seen.update(cells)
    return Row(place, {name: cells[name] for name in wanted if name in cells})


def _read_parquet(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        check_columns(file.schema_arrow.names, wanted, path)
        number = 0
        names = list(dict.fromkeys(wanted))
        for batch in file.iter_batches(batch_size=256, columns=names):
            table = _plain(pa.table(batch))
            for index in range(table.num_rows):
                number += 1
                try:
                    yield Row(f"row {number}", {name: table[name][index].as_py() for name in names})
                except UnicodeDecodeError as error:
                    yield Row(f"row {number}", {}, f"a text is not UTF-8: {error.reason}")


def _plain(table: pa.Table) -> pa.Table:
    """The table with times that Python has: a column of nanoseconds would need another package."""
    for index, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            kind = pa.timestamp("us", column.type.tz)
            cast = table.column(index).cast(kind, safe=False)
            table = table.set_column(index, column.name, cast)
    return table


def check_columns(present: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Checks that a table has each column that is asked for, and once.

    Raises:
        ConfigError: It has not.
    """
    names = ", ".join(present) or "none"
    missing = next((name for name in wanted if name not in present), None)
    if missing is not None:
        raise ConfigError(
            f"the table has no column {missing!r}; it has: {names}",
            where=str(path),
            fix="correct pack.columns, pack.key or pack.group"
            + (", or set pack.delimiter" if len(present) == 1 else ""),
        )
    counts = Counter(present)
    double = next((name for name in wanted if counts[name] > 1), None)
    if double is not None:
        raise ConfigError(
            f"the table has the column {double!r} {counts[double]} times",
            where=str(path),
            fix="rename one of them",
        )


def column_names(path: Path, delimiter: str | None, encoding: str | None) -> list[str]:
    """The columns of a table, as far as its beginning tells.

    Raises:
        ConfigError: The table cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                return list(file.schema_arrow.names)
        name = find_encoding(path, encoding).name
        if suffix in (".jsonl", ".ndjson"):
            with path.open(encoding=name, errors="surrogateescape") as text:
                first = json.loads(next((line for line in text if line.strip()), "{}"))
            return list(first) if isinstance(first, dict) else []
        rows = read_delimited(path, name, (), delimiter)
        return [cell.strip() for cell in next(rows, ("", []))[1]]
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:
        raise ConfigError(
            f"the table cannot be read: {in_words(error)}", where=str(path), fix="check pack.source"
        ) from error


def _readable(encoding: Encoding) -> str:
    return encoding.name.removesuffix("-sig").upper()
