"""Numbers that are written out, in lines of text or in JSON -> arrays."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import SampleError, in_words
from pipeline.modalities.strict_json import read_json
from pipeline.modalities.text.codec import read_text
from pipeline.modalities.vector.faults import bad


def read_lines(
    data: memoryview, field: str, separator: str, shape: tuple[int, ...]
) -> tuple[np.ndarray, bool]:
    """Reads numbers that stand in rows, one a line, between separators.

    An empty cell is a missing value. Empty lines do not count.

    Args:
        data: ASCII.
        field: Its extension.
        separator: One character; a space stands for any white space.
        shape: (L,) reads one row of L numbers, or L rows of one; (T, C) reads rows of C.

    Returns:
        float64 (N,) or (N, C), NaN where a value is missing, with N no more than the shape's; and whether there is
        more, which is not looked at.

    Raises:
        SampleError: Not text, a cell that is no number, or rows of different length.
    """
    text = _text(data, field)
    if not text.isascii() or "_" in text:  # which Python's numbers may have
        raise bad("it holds characters that no number has", field)
    steps, *channels = shape
    most_cells = channels[0] if channels else steps
    rows: list[np.ndarray] = []
    more = False
    for line, cells in _lines(text, separator, most_cells):
        more = len(rows) == steps
        if more:
            break
        if len(cells) != (len(rows[0]) if rows else channels[0] if channels else len(cells)):
            expected = len(rows[0]) if rows else channels[0]
            raise bad(f"line {line} has other than {expected} columns", field)
        rows.append(_numbers(cells[:most_cells], line, field))
        more = len(cells) > most_cells
    if not rows:
        raise bad("it is empty", field)
    values = np.stack(rows)
    if channels:
        return values, more
    if 1 not in values.shape:
        raise bad(f"it has {len(rows)} rows of several numbers; one row is expected", field)
    return values.reshape(-1), more


def _lines(text: str, separator: str, most_cells: int) -> Iterator[tuple[int, list[str]]]:
    """(line, its cells) of the lines that are not empty; at most one cell more than ``most_cells``."""
    for number, line in enumerate(io.StringIO(text), 1):
        if line.strip():
            cells = line.split(None if separator == " " else separator, most_cells)
            yield number, cells


def _numbers(cells: Sequence[str], line: int, field: str) -> np.ndarray:
    """Cells -> float64 (C,), NaN where one is empty."""
    values = np.empty(len(cells))
    for column, cell in enumerate(cells):
        text = cell.strip()
        try:
            values[column] = float(text) if text else math.nan
        except ValueError:
            raise bad(f"line {line}, column {column + 1} is no number", field) from None
    return values


def read_json_numbers(data: memoryview, field: str, path: str, num_axes: int) -> np.ndarray:
    """Reads a list of numbers, or a list of rows of them, in a JSON member.

    ``null`` is a missing value, and so is a number that is too large for a float.

    Args:
        data: The JSON.
        field: Its extension.
        path: Names from the outermost object to the list, between dots; empty where the list is all there is.
        num_axes: 1 for a list of numbers; 2 for a list of lists, or of numbers, which are then rows of one.

    Returns:
        float64 (N,) or (N, C), NaN where a value is missing.

    Raises:
        SampleError: Not JSON, nothing at that path, no numbers, or rows of different length.
    """
    try:
        value = read_json(_text(data, field))
    except (ValueError, RecursionError) as error:
        raise bad(f"not JSON: {in_words(error)}"[:150], field) from None
    where = path or "the JSON"
    for name in path.split(".") if path else ():
        if not isinstance(value, dict) or name not in value:
            raise bad(f"there is no {path}", field)
        value = value[name]
    if not isinstance(value, list) or not value:
        raise bad(f"{where} is no list of numbers", field)
    if num_axes == 1 or not any(isinstance(row, list) for row in value):
        return np.array(_json_row(value, where, field))
    if len({len(row) if isinstance(row, list) else -1 for row in value}) > 1:
        raise bad(f"the rows of {where} differ in length", field)
    return np.array([_json_row(row, where, field) for row in value])


def _json_row(values: Sequence[object], where: str, field: str) -> list[float]:
    row = []
    for value in values:
        if value is None:
            row.append(math.nan)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise bad(f"{where} holds what is no number", field)
        else:
            row.append(_real(value))
    return row


def _real(value: float) -> float:
    """A number of JSON as a float; infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text(data: memoryview, field: str) -> str:
    try:
        return read_text(data, field)
    except SampleError as error:
        raise bad(error.what, field) from None
