"""Arrays <-> Arrow columns of lists of one length."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def fixed_lists(
    values: NDArray[np.floating], present: NDArray[np.bool_] | None = None
) -> pa.FixedSizeListArray:
    """A column of lists (B,) for an array (B, D) of floats; null where ``present``, (B,) bool, is False."""
    kind = pa.list_(pa.from_numpy_dtype(values.dtype), values.shape[1])
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    mask = None if present is None or present.all() else pa.array(~present)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=mask)


def in_half(column: pa.FixedSizeListArray) -> pa.FixedSizeListArray:
    """The same lists as float16; nulls stay."""
    width = column.type.list_size
    flat = column.values.slice(column.offset * width, len(column) * width)
    values = flat.to_numpy(zero_copy_only=False).reshape(len(column), width).astype(np.float16)
    return fixed_lists(values, column.is_valid().to_numpy(zero_copy_only=False))


def matrix(column: pa.ChunkedArray | pa.Array) -> NDArray[np.floating]:
    """An array (B, D) for a column of lists without nulls (B,)."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    width = column.type.list_size
    parts = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in chunks]
    joined: NDArray[np.floating] = (
        np.concatenate(parts)
        if parts
        else np.zeros((0, width), column.type.value_type.to_pandas_dtype())
    )
    return joined
