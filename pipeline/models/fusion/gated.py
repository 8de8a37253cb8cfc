"""Feature-level fusion by gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features, masked_softmax
from pipeline.models.fusion.base import Fusion, Pools


class GatedFusion(Fusion):
    """A mean of the modalities' vectors, with weights that all modalities choose for each channel.

    Args:
        width: D.
        modalities: Names of the M modalities.
        dropout: Of channels of the modalities' vectors.

    Source:
        Arevalo et al. 2017, "Gated multimodal units for information fusion", with a
        softmax over the modalities that are present in place of independent sigmoids.
    """

    def __init__(self, width: int, modalities: Sequence[str], dropout: float) -> None:
        super().__init__(width, modalities)
        self.pools = Pools(width, modalities)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in modalities)
        self.gate = nn.Linear(len(modalities) * width, len(modalities) * width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        vectors, present = self.pools(features)
        vectors = self.dropout(vectors)
        hidden = torch.stack(
            [layer(vectors[:, i]) for i, layer in enumerate(self.hidden)], dim=1
        ).tanh()  # (B, M, D)
        scores = self.gate(vectors.flatten(1)).unflatten(-1, (len(self.modalities), self.width))
        weights = masked_softmax(scores, present[..., None], dim=1)  # (B, M, D)
        return (weights * hidden).sum(dim=1)
