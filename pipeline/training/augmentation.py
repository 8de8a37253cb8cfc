"""Small random changes to a batch, drawn from each sample's own chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.chance import CHANCE, Chance
from pipeline.sample import KEY, SHARD
from pipeline.training.seeds import sample_seeds

Augment = Callable[[Tensor, Chance], Tensor]


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


def augmented(batch: Mapping[str, Tensor], changes: Mapping[str, Augment]) -> dict[str, Tensor]:
    """A batch with some of its columns changed by chance.

    Args:
        batch: With a column ``chance``; its own tensors stay as they are.
        changes: Column -> what changes it.
    """
    chance = Chance(batch[CHANCE])
    changed = {name: change(batch[name], chance.stream(name)) for name, change in changes.items()}
    return {**batch, **changed}
