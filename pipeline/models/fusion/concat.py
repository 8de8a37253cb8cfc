"""Feature-level fusion by concatenation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features
from pipeline.models.fusion.base import Fusion, Pools


class ConcatFusion(Fusion):
    """The modalities' vectors side by side, through a perceptron.

    A learned vector stands in for a missing modality, so that missing differs from being zero.

    Args:
        width: D.
        modalities: Names of the M modalities.
        dropout: Of channels, before each linear layer.

    Source:
        Ngiam et al. 2011, "Multimodal deep learning" (shared representation).
    """

    def __init__(self, width: int, modalities: Sequence[str], dropout: float) -> None:
        super().__init__(width, modalities)
        self.pools = Pools(width, modalities)
        self.missing = nn.Parameter(torch.zeros(len(modalities), width))
        self.perceptron = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(len(modalities) * width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        vectors, present = self.pools(features)
        vectors = torch.where(present[..., None], vectors, self.missing)
        embedding: Tensor = self.perceptron(vectors.flatten(1))
        return embedding
