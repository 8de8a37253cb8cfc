"""One seed of the configuration, split by epoch, step, worker and sample."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(values: np.ndarray) -> np.ndarray:
    """Scatters numbers over all 64 bits: a change of one bit changes half of them.

    Args:
        values: uint64, any shape.

    Source:
        Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 19 (mix64).
    """
    values = (values ^ (values >> np.uint64(30))) * _FIRST_FACTOR
    values = (values ^ (values >> np.uint64(27))) * _SECOND_FACTOR
    scattered: np.ndarray = values ^ (values >> np.uint64(31))
    return scattered


def digest(*words: object) -> int:
    """64 bits that stand for some words, the same on every machine and in every version."""
    text = "\0".join(map(str, words))
    return int.from_bytes(
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """What torch's own chance in one step of one worker begins with: the dropout inside a network.

    Args:
        seed: Of the configuration.
        epoch: Counted from 0.
        step: Global batch of the epoch, counted from 0.
        rank: Of the worker.
    """
    return digest("step", seed, epoch, step, rank) >> 1  # a seed of torch has a sign


def sample_seeds(
    seed: int, epoch: int, shards: Sequence[str], keys: Sequence[str], repeats: np.ndarray
) -> np.ndarray:
    """What the chance of samples is drawn from in one epoch: never from their batch or worker.

    Args:
        seed: Of the configuration.
        epoch: Counted from 0.
        shards: Name of each sample's shard, B of them.
        keys: Each sample's key, B of them; a key is a sample's own within its shard.
        repeats: int64 (B,), how often the epoch has had the sample before.

    Returns:
        int64 (B,).
    """
    names = [digest(shard, key) for shard, key in zip(shards, keys, strict=True)]
    states = np.array(names, dtype=np.uint64) ^ np.uint64(digest("samples", seed, epoch))
    return mixed(mixed(states) + repeats.astype(np.uint64)).view(np.int64)
