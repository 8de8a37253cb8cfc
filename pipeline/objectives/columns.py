"""Arrays <-> Arrow columns of lists of one length."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def fixed_lists(values: NDArray[np.floating]) -> pa.FixedSizeListArray:
    """A column of lists (B,) for an array (B, D) of floats."""
    kind = pa.list_(pa.from_numpy_dtype(values.dtype), values.shape[1])
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


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
