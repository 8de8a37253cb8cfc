"""A bidirectional recurrent network over the tokens of a text."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.modalities.layers import Features
from pipeline.modalities.recurrent import Bidirectional, Cell
from pipeline.modalities.text.augment import PAD


class TextRecurrent(nn.Module):
    """Embeddings of the tokens, then LSTM or GRU layers in both directions.

    Args:
        vocab_size: Number of token ids.
        width: D, channels of a token.
        cell: Of the recurrent layers.
        layers: Their number.
        dropout: Of the embeddings' channels, and between the layers.
    """

    def __init__(
        self, vocab_size: int, width: int, cell: Cell, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=0.05)
        self.dropout = nn.Dropout(dropout)
        self.layers = Bidirectional(cell, width, layers, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes texts.

        Args:
            values: int64 (B, L), 0 where there is no token.

        Returns:
            Features of L tokens, real where the id is not 0.
        """
        mask = values != PAD
        embedded = self.dropout(self.embedding(values))
        # What a token is stays beside what the layers make of its surroundings.
        return Features(self.norm(embedded + self.layers(embedded, mask)), mask)
