"""Token-level fusion through a few tokens that all modalities share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features, TransformerBlock
from pipeline.models.fusion.base import Fusion, masked_mean


class BottleneckFusion(Fusion):
    """A transformer for each modality; they exchange what they know through a few shared tokens, after every layer.

    Args:
        width: D.
        modalities: Names of the M modalities.
        layers: Number of blocks of each modality, at least 2: the first writes the shared tokens, the next reads them.
        tokens: Shared tokens.
        dropout: Inside the blocks.

    Source:
        Nagrani et al. 2021, "Attention bottlenecks for multimodal fusion", with means over the
        modalities that a sample has; the embedding is the mean of the modalities' class tokens, as
        their logits are averaged there behind a shared linear classifier.
    """

    def __init__(
        self, width: int, modalities: Sequence[str], layers: int, tokens: int, dropout: float
    ) -> None:
        super().__init__(width, modalities)
        self.class_tokens = nn.Parameter(torch.randn(len(modalities), width) * 0.02)
        self.shared = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.ModuleList(TransformerBlock(width, max(1, width // 32), dropout) for _ in modalities)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """Maps features of every modality to embeddings, float (B, D)."""
        parts = [features[name] for name in self.modalities]
        size, num_shared = len(parts[0].mask), len(self.shared)
        present = torch.stack([part.mask.any(dim=1) for part in parts], dim=1)
        shared = self.shared.expand(size, -1, -1)
        # Class token and shared tokens come first, so that no more than they can be asked for.
        streams = [part.clean() for part in parts]
        heads = [token.expand(size, 1, -1) for token in self.class_tokens]
        always = torch.ones(size, 1 + num_shared, dtype=torch.bool, device=shared.device)
        masks = [torch.cat([always, part.mask], dim=1) for part in parts]
        for depth, blocks in enumerate(cast(Iterable[nn.ModuleList], self.layers)):
            is_last = depth + 1 == len(self.layers)
            states = [
                block(torch.cat([head, shared, stream], dim=1), mask, 1 if is_last else None)
                for block, head, stream, mask in zip(blocks, heads, streams, masks, strict=True)
            ]
            heads = [state[:, :1] for state in states]
            if not is_last:
                written = torch.stack([state[:, 1 : 1 + num_shared] for state in states], dim=1)
                shared = masked_mean(written, present)
                streams = [state[:, 1 + num_shared :] for state in states]
        embedding: Tensor = self.norm(masked_mean(torch.cat(heads, dim=1), present))
        return embedding
