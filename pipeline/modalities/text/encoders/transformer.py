"""A small transformer over the tokens of a text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features, TransformerBlock

PAD = 0  # the id that stands for no token


class TextEncoder(nn.Module):
    """A small transformer over the tokens of a text.

    Args:
        vocab_size: Number of token ids.
        max_tokens: L.
        width: D, channels of a token.
        layers: Number of transformer blocks.
        dropout: Inside the blocks, and of whole token vectors' channels before them.
    """

    def __init__(
        self, vocab_size: int, max_tokens: int, width: int, layers: int = 1, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=PAD)
        self.position = nn.Parameter(torch.randn(max_tokens, width) * 0.02)
        nn.init.normal_(self.embedding.weight, std=0.05)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 32), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes texts.

        Args:
            values: int64 (B, L), 0 where there is no token.

        Returns:
            Features of L tokens, real where the id is not 0.
        """
        mask = values != PAD
        tokens = self.dropout(self.embedding(values) + self.position[: values.shape[1]])
        for block in self.blocks:
            tokens = block(tokens, mask)
        return Features(self.norm(tokens), mask)
