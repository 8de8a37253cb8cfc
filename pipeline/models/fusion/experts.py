"""Output-level fusion: what each modality knows by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features
from pipeline.models.fusion.base import Fusion, Pools, perceptron


class Experts(Fusion):
    """A perceptron per modality; nothing passes from one to another before they have answered.

    Args:
        width: D.
        modalities: Names of the M modalities.
        dropout: Of channels, before each linear layer.
    """

    def __init__(self, width: int, modalities: Sequence[str], dropout: float) -> None:
        super().__init__(width, modalities)
        self.pools = Pools(width, modalities)
        self.perceptrons = nn.ModuleList(perceptron(width, dropout) for _ in modalities)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to a vector each, float (B, M, D)."""
        vectors, _ = self.pools(features)
        return torch.stack(
            [layer(vectors[:, i]) for i, layer in enumerate(self.perceptrons)], dim=1
        )
