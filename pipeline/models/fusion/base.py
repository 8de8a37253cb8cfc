"""What all fusions share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import AttentionPool, Features


class Fusion(nn.Module, ABC):
    """Joins the modalities' features to one embedding per sample, or to one per modality at output level.

    Whatever stands under a mask has no influence on the embedding, and a sample without any
    modality has a finite one.

    Args:
        width: D of the features and of the embedding.
        modalities: Names of the M modalities, the keys of the features.
    """

    def __init__(self, width: int, modalities: Sequence[str]) -> None:
        super().__init__()
        self.width = width
        self.modalities = tuple(modalities)

    @abstractmethod
    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D), or (B, M, D) at output level."""


class Pools(nn.Module):
    """One vector per modality: an attention pool for each.

    Args:
        width: D.
        modalities: Names of the M modalities.
    """

    def __init__(self, width: int, modalities: Sequence[str]) -> None:
        super().__init__()
        self.pools = nn.ModuleDict({name: AttentionPool(width) for name in modalities})

    def forward(self, features: Mapping[str, Features]) -> tuple[Tensor, Tensor]:
        """Pools every modality.

        Returns:
            Vectors float (B, M, D), zeros where a modality is missing, and presence bool (B, M).
        """
        vectors = torch.stack([pool(features[name]) for name, pool in self.pools.items()], dim=1)
        present = torch.stack([features[name].mask.any(dim=1) for name in self.pools], dim=1)
        return vectors, present


def perceptron(width: int, dropout: float) -> nn.Sequential:
    """What answers for one modality, float (..., D) -> (..., D), with dropout before each of its two linear layers."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(width, 2 * width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * width, width),
    )


def masked_mean(values: Tensor, present: Tensor) -> Tensor:
    """The mean over the modalities that a sample has; zeros, not NaN, where it has none.

    Args:
        values: float (B, M, ...), finite.
        present: bool (B, M).

    Returns:
        float (B, ...).
    """
    shares = present / present.sum(dim=1, keepdim=True).clamp(min=1)  # (B, M)
    shape = (*present.shape, *(1 for _ in values.shape[2:]))
    return (shares.reshape(shape) * values).sum(dim=1)
