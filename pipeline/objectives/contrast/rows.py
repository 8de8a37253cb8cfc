"""The columns of a shared space: one embedding a modality, null where a sample lacks it, and one of all together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.objectives.base import EMBEDDING, Arrays
from pipeline.objectives.columns import fixed_lists


def column(modality: str) -> str:
    """The column of a modality's embedding."""
    return f"{modality}_{EMBEDDING}"


def schema(modalities: Sequence[str], width: int) -> list[pa.Field]:
    """The columns, in order."""
    names = [EMBEDDING, *map(column, modalities)]
    return [pa.field(name, pa.list_(pa.float32(), width)) for name in names]


def table(arrays: Arrays, modalities: Sequence[str]) -> pa.Table:
    """The columns of B samples.

    Args:
        arrays: ``embedding`` and each modality's, (B, D) float32; zeros where a sample lacks it.
        modalities: Names, in the order of the configuration.
    """
    fields = schema(modalities, arrays[EMBEDDING].shape[1])
    columns = [
        fixed_lists(
            arrays[field.name], None if field.name == EMBEDDING else _has(arrays[field.name])
        )
        for field in fields
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def vectors(values: pa.ChunkedArray | pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(B, D) float64 of a column, zeros where it is null, and (B,) bool, where it is not."""
    joined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    width = joined.type.list_size
    flat = joined.values.slice(joined.offset * width, len(joined) * width)
    present = joined.is_valid().to_numpy(zero_copy_only=False)
    matrix = flat.to_numpy(zero_copy_only=False).reshape(len(joined), width).astype(np.float64)
    return np.where(present[:, None], matrix, 0.0), present


def joined(embeddings: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(B, D) float64 of length 1: the direction of the mean of the modalities' own, (B, D) with zeros for none."""
    total = np.sum(embeddings, axis=0)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.where(lengths > 0, lengths, 1.0), dtype=np.float64)


def _has(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(values.any(axis=1))
