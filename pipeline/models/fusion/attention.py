"""Token-level fusion by attention across modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features, TransformerBlock
from pipeline.models.fusion.base import Fusion


class AttentionFusion(Fusion):
    """A transformer over all modalities' tokens and one of its own, which becomes the embedding.

    Args:
        width: D.
        modalities: Names of the M modalities.
        layers: Number of transformer blocks.
        dropout: Inside the blocks.

    Source:
        Single stream with a class token and modality embeddings as in Kim et al. 2021, "ViLT:
        vision-and-language transformer".
    """

    def __init__(self, width: int, modalities: Sequence[str], layers: int, dropout: float) -> None:
        super().__init__(width, modalities)
        self.fusion_token = nn.Parameter(torch.randn(width) * 0.02)
        self.modality = nn.Parameter(torch.randn(len(modalities), width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 32), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        parts = [features[name] for name in self.modalities]
        size = parts[0].mask.shape[0]
        tokens = torch.cat(
            [
                self.fusion_token.expand(size, 1, -1),
                *(part.clean() + self.modality[i] for i, part in enumerate(parts)),
            ],
            dim=1,
        )
        # The fusion token is always real, so no row is without a token to look at.
        always = torch.ones(size, 1, dtype=torch.bool, device=tokens.device)
        mask = torch.cat([always, *(part.mask for part in parts)], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens, mask)
        # Of the last block only the fusion token is wanted.
        embedding: Tensor = self.norm(self.blocks[-1](tokens, mask, num_queries=1)[:, 0])
        return embedding
