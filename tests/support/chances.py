"""Chance for batches of tests."""

from collections.abc import Sized

import torch

from pipeline.modalities.chance import Chance


def chances(batch: Sized, seed: int = 0) -> Chance:
    """A chance for each sample of a batch."""
    numbers = torch.randint(1 << 62, (len(batch),), generator=torch.Generator().manual_seed(seed))
    return Chance(numbers)
