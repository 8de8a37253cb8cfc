"""Output-level fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features
from pipeline.models.fusion.base import Fusion, Pools, perceptron


class LateFusion(Fusion):
    """One output per modality, added with weights that each modality chooses for each sample.

    The head that follows is linear, so adding outputs adds the modalities' logits, up to the scale
    that the norm between them gives a sample: a product of experts, in which a modality that is
    unsure of itself, or missing, is silent.

    Args:
        width: D.
        modalities: Names of the M modalities.
        dropout: Of channels, before each linear layer.

    Source:
        Hinton 2002, "Training products of experts by minimizing contrastive divergence",
        with log-linear weights as in Heskes 1998, "Selecting weighting factors in logarithmic
        opinion pools".
    """

    def __init__(self, width: int, modalities: Sequence[str], dropout: float) -> None:
        super().__init__(width, modalities)
        self.pools = Pools(width, modalities)
        self.outputs = nn.ModuleList(perceptron(width, dropout) for _ in modalities)
        self.weights = nn.ModuleList(nn.Linear(width, 1) for _ in modalities)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        vectors, present = self.pools(features)
        per_modality = list(vectors.unbind(dim=1))
        outputs = torch.stack(
            [layer(v) for layer, v in zip(self.outputs, per_modality, strict=True)], dim=1
        )  # (B, M, D)
        scores = torch.cat(
            [layer(v) for layer, v in zip(self.weights, per_modality, strict=True)], dim=1
        )  # (B, M)
        weights = torch.where(present, 2.0 * scores.sigmoid(), torch.zeros_like(scores))
        return (weights[..., None] * outputs).sum(dim=1)
