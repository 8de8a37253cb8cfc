"""Columns that a model made -> members of a sample, as WebDataset names them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.modalities.content import SNIFFED_BYTES, UNKNOWN, sniff

VALUES = "predictions.json"  # the member that holds all that has no member of its own
_OTHER = "bin"  # extension of bytes of no format that is known

Members = dict[str, bytes]
Make = Callable[[str, Any], Members]


def made_members(table: pa.Table, columns: Sequence[str]) -> list[Members]:
    """What was made of B samples, as members: extension -> content.

    Bytes are ``COLUMN.EXTENSION``, by what they are: ``generated_image.png``. Texts are ``COLUMN.txt``, lists of
    numbers ``COLUMN.npy``; numbers and everything else stand together in ``predictions.json``. Nulls are left out.

    Args:
        table: B rows.
        columns: Those that were made, in order.
    """
    samples: list[Members] = [{} for _ in range(table.num_rows)]
    values: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
    for name in columns:
        column = table[name]
        make = _maker(column.type)
        for row, cell in enumerate(column):
            if not cell.is_valid:
                continue
            if make is None:
                values[row][name] = cell.as_py()
            else:
                samples[row] |= make(name.lower(), cell)
    for members, rest in zip(samples, values, strict=True):
        if rest:
            text = json.dumps(rest, ensure_ascii=False, sort_keys=True, default=str)
            members[VALUES] = text.encode()
    return samples


def _maker(kind: pa.DataType) -> Make | None:
    """What makes members of the cells of a column; None for cells that stand in JSON."""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _bytes
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text
    if (
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    ) and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return _array
    return None


def _bytes(name: str, cell: Any) -> Members:
    content = cell.as_py()
    extension = sniff(content[:SNIFFED_BYTES])
    return {f"{name}.{_OTHER if extension == UNKNOWN else extension}": content}


def _text(name: str, cell: Any) -> Members:
    return {f"{name}.txt": cell.as_py().encode()}


def _array(name: str, cell: Any) -> Members:
    file = io.BytesIO()
    np.save(file, cell.values.to_numpy(zero_copy_only=False), allow_pickle=False)
    return {f"{name}.npy": file.getvalue()}
