"""Sums over the samples of a batch that have the modality that is made."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def mean(losses: Tensor, present: Tensor) -> Tensor:
    """The mean over all samples of losses, float (B,), of those that are present, bool (B,)."""
    return torch.where(present, losses, 0.0).mean()


def of_generator(losses: Tensor, present: Tensor) -> dict[str, Tensor]:
    """What a batch adds to the generator's metrics, (B,) each."""
    return {"generator_loss": losses, "generated": present}


def summed(values: Mapping[str, Tensor], present: Tensor) -> dict[str, Tensor]:
    """Sums of values (B,) over the samples that are present, float64."""
    with torch.no_grad():
        return {
            name: torch.where(present, value.detach().double(), 0.0).sum()
            for name, value in values.items()
        }
