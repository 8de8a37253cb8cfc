"""The columns that a person's own predictor gives, as Arrow has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.modalities.pretrained.base import EMBEDDING


def is_embedding(kind: pa.DataType) -> bool:
    """Whether a column of this type can be searched: lists of floats of one length."""
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))


def in_half(kind: pa.DataType) -> pa.DataType:
    """The type of the same lists in half precision."""
    return pa.list_(pa.float16(), kind.list_size) if is_embedding(kind) else kind


def column_of(values: Any, field: pa.Field, count: int) -> pa.Array:
    """What a predictor gave for a column, as Arrow has it.

    Args:
        values: An array (B, ...) or a list.
        field: The column.
        count: B.

    Raises:
        ValueError: Not B values, not of the type, not finite, or an embedding that is missing.
    """
    if len(values) != count:
        raise ValueError(f"{len(values)} values of {field.name} for {count} samples")
    kind = field.type
    if isinstance(values, np.ndarray):
        if pa.types.is_fixed_size_list(kind) and values.shape == (count, kind.list_size):
            column = _lists(values, kind)
        else:
            column = pa.array(values.tolist(), kind)
    else:
        column = pa.array(values, kind)
    if field.name == EMBEDDING and column.null_count:
        raise ValueError(f"no {field.name} of {column.null_count} samples")
    flat = (
        column.flatten() if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) else column
    )
    if pa.types.is_floating(flat.type) and not np.isfinite(flat.drop_null().to_numpy()).all():
        raise ValueError(f"numbers of {field.name} that are not finite")
    return column


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """A column of lists of one length for an array (B, D)."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if pa.types.is_floating(kind.value_type):
        flat = flat.astype(kind.value_type.to_pandas_dtype())
    return pa.FixedSizeListArray.from_arrays(pa.array(flat).cast(kind.value_type), type=kind)
