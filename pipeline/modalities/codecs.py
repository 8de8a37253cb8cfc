"""What codecs share: members one by one, and arrays of one shape to and from columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities.base import Codec, Decoded, Dense, Item, Noted

# Metadata of a column in whose lists a null is a missing value; decoded arrays have NaN there.
MISSING_ARE_NULL = {"missing": "null"}


Decode = Callable[[memoryview, str], np.ndarray | Noted]


def decode_each(
    codec: Codec,
    items: Sequence[Item],
    out: Sequence[np.ndarray] | None,
    decode: Decode | None = None,
) -> list[Decoded]:
    """A :meth:`Codec.decode_batch` for codecs that gain nothing from seeing several members at once.

    Args:
        codec: Decodes them.
        items: The members.
        out: Rows that the values are written into.
        decode: In place of the codec's, where it has remarks.
    """
    rows = codec.empty(len(items)) if out is None else out
    if rows is None:
        raise TypeError(f"{type(codec).__name__} has values that differ in size")
    decode = decode or codec.decode
    results: list[Decoded] = []
    for item, row in zip(items, rows, strict=True):
        try:
            value = decode(item.data, item.field)
        except SampleError as error:
            results.append(error)
            continue
        if isinstance(value, Noted):
            row[...] = value.value
            results.append(value._replace(value=row))
        else:
            row[...] = value
            results.append(row)
    return results


def decode_unequal(decode: Decode, items: Sequence[Item]) -> list[Decoded]:
    """As :func:`decode_each`, for values that differ in size, which have no rows to be written to."""
    results: list[Decoded] = []
    for item in items:
        try:
            results.append(decode(item.data, item.field))
        except SampleError as error:
            results.append(error)
    return results


def fixed_size_column(
    values: Sequence[np.ndarray | None], field: pa.Field, dtype: type
) -> pa.Array:
    """Packs arrays of one shape into a FixedSizeList column, null where a value is None."""
    dense = np.zeros((len(values), field.type.list_size), dtype=dtype)
    missing = np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values):
        if value is None:
            missing[row] = True
        else:
            dense[row] = value.reshape(-1)
    return dense_to_column(dense, missing, field)


def missing_are_null(field: pa.Field) -> bool:
    """Whether a null in a list of this column is a missing value; see ``MISSING_ARE_NULL``."""
    return (field.metadata or {}).get(b"missing") == b"null"


def dense_to_column(dense: np.ndarray, missing: np.ndarray, field: pa.Field) -> pa.Array:
    """Makes a FixedSizeList column of (B, ...) values without copying them; null where ``missing``.

    In a column of ``MISSING_ARE_NULL``, NaN become nulls.
    """
    flat = pa.array(
        dense.reshape(-1), type=field.type.value_type, from_pandas=missing_are_null(field)
    )
    mask = pa.array(missing) if missing.any() else None
    return pa.FixedSizeListArray.from_arrays(flat, type=field.type, mask=mask)


def dense_column(column: pa.Array, shape: tuple[int, ...]) -> Dense:
    """Unpacks a FixedSizeList column into (B, *shape), zeros where it is null."""
    size = column.type.list_size
    # `flatten` would leave the nulls' places out; `values` keeps them, but ignores the slice's offset.
    flat = column.values.slice(column.offset * size, len(column) * size)
    present = np.asarray(column.is_valid())
    values = flat.to_numpy(zero_copy_only=False).reshape(len(column), *shape)
    if not present.all():
        values = np.where(
            present.reshape(-1, *[1] * len(shape)), values, np.zeros((), values.dtype)
        )
    return Dense(values, present)


def standard_scaler() -> Any:
    """Features of mean 0 and deviation 1, as linear models of features in other units need them."""
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()
