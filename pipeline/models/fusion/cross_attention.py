"""Token-level fusion in which each modality attends to the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features, TransformerBlock
from pipeline.models.fusion.base import Fusion, Pools


class CrossAttentionFusion(Fusion):
    """The tokens of each modality look at those of all others, layer by layer; then one vector each, side by side.

    A learned token that says nothing stands among those that are looked at, so that there is one where all other
    modalities are missing. A learned vector stands in for a missing modality.

    Args:
        width: D.
        modalities: Names of the M modalities.
        layers: Number of blocks of each modality.
        dropout: Inside the blocks, and of the vectors.

    Source:
        Tsai et al. 2019, "Multimodal transformer for unaligned multimodal language sequences", with one
        block over all other modalities in place of one for each of them, and a pool in place of the last token.
    """

    def __init__(self, width: int, modalities: Sequence[str], layers: int, dropout: float) -> None:
        super().__init__(width, modalities)
        self.modality = nn.Parameter(torch.randn(len(modalities), width) * 0.02)
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)
        self.layers = nn.ModuleList(
            nn.ModuleList(TransformerBlock(width, max(1, width // 32), dropout) for _ in modalities)
            for _ in range(layers)
        )
        self.pools = Pools(width, modalities)
        self.missing = nn.Parameter(torch.zeros(len(modalities), width))
        self.join = nn.Sequential(nn.Dropout(dropout), nn.Linear(len(modalities) * width, width))

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        masks = [features[name].mask for name in self.modalities]
        streams = [
            features[name].clean() + self.modality[i] for i, name in enumerate(self.modalities)
        ]
        for blocks in cast(Iterable[nn.ModuleList], self.layers):
            streams = [self._look(i, block, streams, masks) for i, block in enumerate(blocks)]
        vectors, present = self.pools(
            {
                name: Features(tokens, mask)
                for name, tokens, mask in zip(self.modalities, streams, masks, strict=True)
            }
        )
        vectors = torch.where(present[..., None], vectors, self.missing)
        embedding: Tensor = self.join(vectors.flatten(1))
        return embedding

    def _look(
        self, i: int, block: nn.Module, streams: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """The tokens of modality ``i`` after they have looked at all others."""
        size, length = masks[i].shape
        sources = [stream for j, stream in enumerate(streams) if j != i]
        tokens = torch.cat([streams[i], self.nothing.expand(size, 1, -1), *sources], dim=1)
        # Its own tokens ask, and are not looked at.
        asking = torch.zeros_like(masks[i])
        always = torch.ones(size, 1, dtype=torch.bool, device=tokens.device)
        real = [mask for j, mask in enumerate(masks) if j != i]
        looked: Tensor = block(tokens, torch.cat([asking, always, *real], dim=1), length)
        return looked
