"""Blocks of decoded samples -> the tensors that networks take."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.base import Codec, Dense
from pipeline.models.seeds import sample_seeds
from pipeline.sample import KEY, SHARD


class Collates(Protocol):
    """What makes arrays of one shape of a column; every codec does."""

    def collate(self, column: pa.Array) -> Dense:
        """See :meth:`pipeline.modalities.base.Codec.collate`."""


def content_of(modality: str) -> str:
    """The column that says which samples are equal in a modality, by :func:`row_digests`."""
    return f"{modality}.content"


def to_tensors(table: pa.Table, codecs: Mapping[str, Collates]) -> dict[str, Tensor]:
    """Collates a table of good samples.

    Args:
        table: B rows with one column a modality.
        codecs: Modality -> codec.

    Returns:
        ``NAME`` (B, ...) and ``NAME_present`` bool (B,) for each modality.
    """
    batch: dict[str, Tensor] = {}
    for name, codec in codecs.items():
        values, present = codec.collate(one_chunk(table[name]))
        batch[name] = torch.from_numpy(writable(values))
        batch[f"{name}_present"] = torch.from_numpy(writable(present))
    return batch


def chance_column(
    table: pa.Table, seed: int, epoch: int, repeats: np.ndarray | None = None
) -> Tensor:
    """The column ``chance`` of a batch: what its samples' chance in an epoch is drawn from.

    Args:
        table: B samples, with their keys and shards.
        seed: Of the configuration.
        epoch: Counted from 0.
        repeats: int64 (B,), how often the epoch has had each sample before; never where None.

    Returns:
        int64 (B,).
    """
    before = np.zeros(table.num_rows, dtype=np.int64) if repeats is None else repeats
    shards, keys = table[SHARD].to_pylist(), table[KEY].to_pylist()
    return torch.from_numpy(sample_seeds(seed, epoch, shards, keys, before))


def contents_of(table: pa.Table, codecs: Mapping[str, Codec]) -> dict[str, np.ndarray]:
    """Which samples are equal in which modality.

    Args:
        table: As of :func:`to_tensors`.
        codecs: Modality -> codec.

    Returns:
        Modality -> :func:`row_digests` of its values.
    """
    dense = {name: codec.collate(one_chunk(table[name])) for name, codec in codecs.items()}
    return {name: row_digests(*pair) for name, pair in dense.items()}


def row_digests(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Digests of rows, int64 (B,): equal rows have equal ones, others different ones; 0 where there is no value.

    Args:
        values: (B, ...), any dtype.
        present: (B,) bool.
    """
    digests = np.zeros(len(values), dtype=np.int64)
    for row in np.flatnonzero(present):
        digest = blake2b(np.ascontiguousarray(values[row]).tobytes(), digest_size=8).digest()
        digests[row] = int.from_bytes(digest, "little", signed=True)
    return digests


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copies a batch to a device."""
    if device.type == "cpu":
        return dict(batch)
    return {name: value.pin_memory().to(device, non_blocking=True) for name, value in batch.items()}


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def writable(values: np.ndarray) -> np.ndarray:
    """The array, or a copy of one that is read-only, as Arrow's memory is and torch warns of."""
    return values if values.flags.writeable else values.copy()
