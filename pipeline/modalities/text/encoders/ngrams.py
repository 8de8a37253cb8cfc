"""A perceptron over the hashed runs of characters of a text."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features
from pipeline.modalities.text.ngrams import PAD, Frequencies, hashed_runs


class TextNgrams(nn.Module):
    """All runs of 1 to n characters of a text, counted in buckets and weighed by how rare they are, to one token.

    Args:
        width: D, channels of the token.
        max_length: n.
        num_buckets: Of the hash.
        hidden: Width of the hidden layer; 0 maps the weights to the token linearly.
        dropout: Of buckets, and of the hidden layer's channels.

    Source:
        Weights as in Salton & Buckley 1988, "Term-weighting approaches in automatic text retrieval", table 1, with the
        logarithm of the frequency; a linear layer over hashed runs of characters as in Joulin et al. 2017, "Bag of
        tricks for efficient text classification", section 2.
    """

    idf: Tensor

    def __init__(
        self, width: int, max_length: int, num_buckets: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.max_length, self.num_buckets = max_length, num_buckets
        self.register_buffer("idf", torch.ones(num_buckets))
        self.drop_buckets = nn.Dropout(dropout)
        self.embed = nn.Linear(num_buckets, hidden or width, bias=False)
        # The input has length 1, whatever the number of buckets.
        nn.init.normal_(self.embed.weight, std=0.1)
        self.widen = (
            nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
            if hidden
            else nn.Identity()
        )
        self.norm = nn.LayerNorm(width)

    def fit(self, frequencies: Frequencies) -> None:
        """Takes over how rare the buckets are in the training set."""
        self.idf.copy_(torch.tensor(frequencies["idf"], dtype=torch.float64))

    def forward(self, values: Tensor) -> Features:
        """Encodes texts.

        Args:
            values: int64 (B, L), code points, 0 where there is none.

        Returns:
            Features of one token, real where there is any character.
        """
        embedded = self.embed(self.drop_buckets(self.weights(values)))
        tokens = self.norm(self.widen(embedded))
        return Features(tokens[:, None], (values != PAD).any(dim=1, keepdim=True))

    def weights(self, values: Tensor) -> Tensor:
        """The weights of the buckets, float (B, num_buckets), of length 1; zeros where a text has no character."""
        counts = self.idf.new_zeros(len(values), self.num_buckets)
        for length in range(1, min(self.max_length, values.shape[1]) + 1):
            buckets, signs, real = hashed_runs(values, length, self.num_buckets)
            counts = counts.scatter_add(1, buckets, (signs * real).to(counts.dtype))
        return functional.normalize(counts.sign() * counts.abs().log1p() * self.idf, dim=1)
