"""What the columns of a table hold: values, or the paths of files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.modalities.content import EXTENSIONS, TEXT
from pipeline.packing.config import PackConfig
from pipeline.packing.reading import Reading
from pipeline.packing.tables.cells import is_empty, names_file, whole_numbers
from pipeline.packing.tables.table import Row
from pipeline.shards.tar.names import is_extension

# Fields whose columns hold values, beside those that the configuration reads as texts, labels or metadata.
_VALUE_FIELDS = frozenset({"txt", "text", "caption", "transcript", "cls", "label", "id", "json"})
# Cells of a column that are looked up on disk to tell whether it names files.
LOOKED_UP = 50
_LIKE_A_PATH = re.compile(r"[^\n\r\t]*[^\s/\\]\.[A-Za-z][A-Za-z0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class Column:
    """What one column becomes.

    Attributes:
        field: The field of the samples.
        name: Of the column.
        is_path: Whether it holds paths of files rather than values.
        is_whole: Whether its numbers, written ``1.0``, are whole numbers.
    """

    field: str
    name: str
    is_path: bool
    is_whole: bool = False


def named_columns(columns: dict[str, str], present: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Field -> (``path``, ``value`` or empty, name of the column).

    Args:
        columns: As in the configuration.
        present: Columns that the table has, one of which may itself begin with ``path:``.

    Raises:
        ConfigError: A field cannot be one.
    """
    named = {}
    for field, column in columns.items():
        if not is_extension(field):
            raise ConfigError(
                f"{field!r} cannot be a field's extension",
                where="pack.columns",
                fix="use lower-case letters and digits, such as jpg or seg.png",
            )
        kind, colon, name = column.partition(":")
        prefixed = colon and kind in ("path", "value") and column not in present
        named[field] = (kind, name) if prefixed else ("", column)
    return named


class Columns:
    """Tells what the columns hold, by the configuration and by looking at their cells.

    Args:
        config: The settings of packing.
        reading: What the other jobs read of which field.
        rows: All rows of the table.
        folder: That paths count from.
    """

    def __init__(
        self, config: PackConfig, reading: Reading, rows: Sequence[Row], folder: Path
    ) -> None:
        self._config = config
        self._reading = reading
        self._rows = rows
        self._folder = folder
        self.notes: list[str] = []

    def choose(self, field: str, kind: str, name: str) -> Column:
        """Tells what a column holds.

        Args:
            field: The field that it becomes.
            kind: ``path`` or ``value`` where the configuration says so; otherwise empty.
            name: Of the column.
        """
        is_label = self._reading.kind(field) == "label" or field == "id"
        is_whole = is_label and whole_numbers(self.cells(name))
        if kind:
            return Column(field, name, kind == "path", is_whole)
        if field in self._config.values or name in self._config.values:
            return Column(field, name, False, is_whole)
        is_path = self._holds_paths(field, name)
        if is_path:
            self._note_missing(name)
        return Column(field, name, is_path, is_whole)

    def cells(self, name: str) -> Iterator[object]:
        """The cells of a column that have a value."""
        cells = (row.cells.get(name) for row in self._rows)
        return (cell for cell in cells if not is_empty(cell))

    def _holds_paths(self, field: str, name: str) -> bool:
        read_as = self._reading.kind(field)
        last = field.rpartition(".")[2]
        if self._reading.is_value(field) or (not read_as and last in _VALUE_FIELDS):
            if self._config.text_from_file and last != "json":
                return True
            self._note_files(field, name, "pack.text_from_file=true packs what is in them")
            return False
        if last == "json":
            return self._names_files(name)
        if read_as in ("label", "metadata") or last in _VALUE_FIELDS:
            self._note_files(
                field, name, f"pack.columns={{{field}: 'path:{name}'}} packs what is in them"
            )
            return False
        if read_as or EXTENSIONS.get(last, (TEXT,)) != (TEXT,):
            return True
        return self._looks_like_paths(name)

    def _looks_like_paths(self, name: str) -> bool:
        """Of a column of which the field does not tell: whether its cells name files, or look as if they should."""
        cells = list(self.cells(name))
        texts = [cell for cell in cells if isinstance(cell, str)]
        if not cells or len(texts) < len(cells):
            return False
        return self._names_files(name) or all(map(_LIKE_A_PATH.fullmatch, texts))

    def _names_files(self, name: str) -> bool:
        cells = list(islice(self.cells(name), LOOKED_UP))
        return bool(cells) and all(names_file(cell, self._folder) for cell in cells)

    def _note_missing(self, name: str) -> None:
        """Notes a column of which no path leads to a file: as a rule they count from another folder."""
        cells = [cell for cell in islice(self.cells(name), LOOKED_UP) if isinstance(cell, str)]
        if not cells or any(names_file(cell, self._folder) for cell in cells):
            return
        in_working_folder = names_file(cells[0], Path())
        way = "pack.root=. does so" if in_working_folder else "pack.root names another folder"
        if not any(map(_LIKE_A_PATH.fullmatch, cells)):
            way = f"{way}, pack.values=[{name}] packs its cells themselves"
        self.notes.append(
            f"the column {name} names no file in {self._folder}, which its paths count from"
            f"{', but it does in the folder that the job was started in' if in_working_folder else ''}: {way}"
        )

    def _note_files(self, field: str, name: str, way: str) -> None:
        if self._names_files(name):
            self.notes.append(
                f"the column {name} names files, and these names themselves were packed as {field}: {way}, "
                f"pack.values=[{name}] says that it is meant so"
            )
