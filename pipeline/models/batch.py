"""Blocks of decoded samples -> the tensors that networks take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.base import Codec


def to_tensors(table: pa.Table, codecs: Mapping[str, Codec]) -> dict[str, Tensor]:
    """Collates a table of good samples.

    Args:
        table: B rows with one column a modality.
        codecs: Modality -> codec.

    Returns:
        ``NAME`` (B, ...) and ``NAME_present`` bool (B,) for each modality.
    """
    batch: dict[str, Tensor] = {}
    for name, codec in codecs.items():
        values, present = codec.collate(_one_chunk(table[name]))
        batch[name] = torch.from_numpy(_writable(values))
        batch[f"{name}_present"] = torch.from_numpy(_writable(present))
    return batch


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copies a batch to a device."""
    if device.type == "cpu":
        return dict(batch)
    return {name: value.pin_memory().to(device, non_blocking=True) for name, value in batch.items()}


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _writable(values: np.ndarray) -> np.ndarray:
    """Arrow's memory is read-only, which torch warns of; a copy is small beside the network's work."""
    return values if values.flags.writeable else values.copy()
