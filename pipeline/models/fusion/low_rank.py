"""Feature-level fusion by a tensor product of low rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features
from pipeline.models.fusion.base import Fusion, Pools


class LowRankFusion(Fusion):
    """A linear map of the outer product of all modalities' vectors, each with a one behind it, kept as factors.

    The product itself, D + 1 to the power of M numbers, is never made. Through the ones it holds the products of
    every subset of the modalities; a missing modality leaves only its one.

    Args:
        width: D.
        modalities: Names of the M modalities.
        rank: R, factors of each modality.
        dropout: Of channels of the modalities' vectors.

    Source:
        Liu et al. 2018, "Efficient low-rank multimodal fusion with modality-specific factors"; begun
        near one for every factor, where the product of many is neither lost nor dominated by one of them.
    """

    def __init__(self, width: int, modalities: Sequence[str], rank: int, dropout: float) -> None:
        super().__init__(width, modalities)
        self.pools = Pools(width, modalities)
        self.dropout = nn.Dropout(dropout)
        factors = torch.randn(len(modalities), rank, width + 1, width) / math.sqrt(width)
        factors[:, :, -1] = 1.0
        self.factors = nn.Parameter(factors)
        self.rank_weights = nn.Parameter(torch.randn(rank) / math.sqrt(rank))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        vectors, _ = self.pools(features)
        extended = functional.pad(self.dropout(vectors), (0, 1), value=1.0)  # (B, M, D + 1)
        projected = torch.einsum("bmi,mrio->bmro", extended, self.factors)
        # A product of many numbers wants all their digits, also where matrices are multiplied with fewer.
        product = projected.float().prod(dim=1)  # (B, R, D)
        return (self.rank_weights[:, None] * product).sum(dim=1) + self.bias
