"""The columns of estimated numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.objectives.base import EMBEDDING, Arrays
from pipeline.objectives.columns import fixed_lists, matrix

PREDICTION = "prediction"


def schema(count: int, width: int) -> list[pa.Field]:
    """The columns for K numbers, in order."""
    kind = pa.float32() if count == 1 else pa.list_(pa.float32(), count)
    return [pa.field(PREDICTION, kind), pa.field(EMBEDDING, pa.list_(pa.float32(), width))]


def table(arrays: Arrays) -> pa.Table:
    """The columns of B samples, for ``prediction`` (B, K) and ``embedding`` (B, D), float32."""
    columns = [numbers(arrays[PREDICTION]), fixed_lists(arrays[EMBEDDING])]
    fields = schema(arrays[PREDICTION].shape[1], arrays[EMBEDDING].shape[1])
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def numbers(values: NDArray[np.floating]) -> pa.Array:
    """A column of numbers for (B, 1), of lists for (B, K)."""
    return pa.array(values[:, 0]) if values.shape[1] == 1 else fixed_lists(values)


def values(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float64]:
    """(B, K) float64 of a column that :func:`numbers` made."""
    if pa.types.is_floating(column.type):
        array: NDArray[np.float64] = column.to_numpy().astype(np.float64)[:, None]
        return array
    return matrix(column).astype(np.float64)
