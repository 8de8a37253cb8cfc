"""One seed of the configuration, split by epoch and worker."""

from __future__ import annotations

import torch


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """The seed of one worker's epoch.

    Args:
        seed: Of the configuration.
        epoch: Counted from 0.
        rank: Of the worker.
    """
    return (seed * 1_000_003 + epoch * 1_009 + rank) % (1 << 31)


def augmentation_chance(
    seed: int, epoch: int, rank: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """What the augmentation of one worker's epoch draws from; see :func:`epoch_seed`."""
    return torch.Generator(device).manual_seed(epoch_seed(seed, epoch, rank) + 1)
