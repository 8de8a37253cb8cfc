"""How vectors get worse, to see how much of it a model stands."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance
from pipeline.modalities.facets import Corruption
from pipeline.modalities.vector.augment import VectorAugmentation


def corruptions(*, is_series: bool) -> Mapping[str, Corruption]:
    """Noise and gaps, of float32 (B, 2, *shape): the values, and 1 where one is real.

    Args:
        is_series: Whether values are (T, C) rather than (L,).
    """
    scale = "deviation / that of the channel" if is_series else "deviation / size of each feature"
    gaps = "share of the steps" if is_series else "share of the values"
    return {
        "noise": Corruption(scale, (0.1, 0.25, 0.5, 1.0), add_noise),
        "drop": Corruption(gaps, (0.1, 0.25, 0.5, 0.75), drop),
    }


def add_noise(values: Tensor, fraction: float, chance: Chance) -> Tensor:
    """White noise; see :class:`pipeline.modalities.vector.augment.VectorAugmentation`."""
    return VectorAugmentation(noise_fraction=fraction)(values, chance)


def drop(values: Tensor, share: float, chance: Chance) -> Tensor:
    """Takes values as missing by chance, of a series whole steps; one stays at least.

    Args:
        values: float32 (B, 2, *shape).
        share: Of the values or steps.
        chance: Of the samples: which.
    """
    draws = chance.uniform(values.shape[2])
    draws.scatter_(1, draws.argmax(dim=1, keepdim=True), 1.0)
    gone = draws < share
    gone = gone.view(len(values), 1, -1, *[1] * (values.ndim - 3))
    return torch.where(gone, torch.zeros_like(values), values)
