"""Feature-level fusion in which modalities scale and shift one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features
from pipeline.models.fusion.base import Fusion, Pools, masked_mean


class FilmFusion(Fusion):
    """Every channel of a modality's tokens is scaled and shifted as the other modalities say; then a mean of vectors.

    Args:
        width: D.
        modalities: Names of the M modalities.
        dropout: Of the modulated channels.

    Source:
        Perez et al. 2018, "FiLM: visual reasoning with a general conditioning layer", in a residual block as
        theirs; every modality is conditioned, by the mean of what the others say, and gamma is
        learnt as its difference from one. With no other modality gamma is one and beta zero.
    """

    def __init__(self, width: int, modalities: Sequence[str], dropout: float) -> None:
        super().__init__(width, modalities)
        self.conditions = Pools(width, modalities)
        self.modulations = nn.ModuleList(nn.Linear(width, 2 * width) for _ in modalities)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in modalities)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in modalities)
        self.dropout = nn.Dropout(dropout)
        self.pools = Pools(width, modalities)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        vectors, present = self.conditions(features)
        said = torch.stack(
            [layer(vectors[:, i]) for i, layer in enumerate(self.modulations)], dim=1
        )  # (B, M, 2 D)
        modulated = {}
        for i, name in enumerate(self.modalities):
            speaking = present.clone()
            speaking[:, i] = False
            gamma, beta = masked_mean(said, speaking)[:, None].chunk(2, dim=-1)  # (B, 1, D)
            tokens = features[name].clean()
            states = self.layers[i](self.norms[i](tokens))
            change = functional.gelu((1.0 + gamma) * states + beta)
            modulated[name] = Features(tokens + self.dropout(change), features[name].mask)
        return masked_mean(*self.pools(modulated))
