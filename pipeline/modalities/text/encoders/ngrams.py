"""A linear layer, or a perceptron, over the hashed runs of characters of a text."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features
from pipeline.modalities.text.ngrams import NUM_BUCKETS, PAD, Extent, Runs, hashed_runs


class TextNgrams(nn.Module):
    """The runs of 1 to n characters that the training set's texts share, weighed by how rare they are, to one token.

    Args:
        width: D, channels of the token.
        max_length: n.
        num_inputs: Runs that are looked at, at most (I).
        hidden: Width of the hidden layer; 0 maps the weights to the token linearly.
        dropout: Of runs, of the hidden layer's channels, and of the token's.
        within: What runs do not leave: a text, or a word and the spaces around it.

    Source:
        Weights as in Salton & Buckley 1988, "Term-weighting approaches in automatic text retrieval", table 1, with the
        logarithm of the frequency; a linear layer over hashed runs of characters as in Joulin et al. 2017, "Bag of
        tricks for efficient text classification", section 2.
    """

    idf: Tensor
    places: Tensor

    def __init__(
        self,
        width: int,
        max_length: int,
        num_inputs: int,
        hidden: int,
        dropout: float,
        within: Extent = "text",
    ) -> None:
        super().__init__()
        self.max_length, self.num_inputs, self.within = max_length, num_inputs, within
        # Of each bucket, the input that it is counted in; num_inputs where in none. Before anything is known, any.
        self.register_buffer("places", torch.arange(NUM_BUCKETS, dtype=torch.int32) % num_inputs)
        self.register_buffer("idf", torch.ones(num_inputs))
        self.dropout = nn.Dropout(dropout)
        self.embed = nn.Linear(num_inputs, hidden or width, bias=False)
        # Small, so that what is learned soon outgrows it: of large ones the network would learn texts by heart.
        nn.init.normal_(self.embed.weight, std=0.001)
        self.norm_embed = nn.LayerNorm(hidden) if hidden else nn.Identity()
        self.widen = (
            nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
            if hidden
            else nn.Identity()
        )
        self.norm = nn.LayerNorm(width)

    def fit(self, runs: Runs) -> None:
        """Takes over which runs the training set's texts share, and how rare they are."""
        buckets = torch.tensor(runs["buckets"], dtype=torch.int64)
        self.places.fill_(self.num_inputs)
        self.places[buckets] = torch.arange(len(buckets), dtype=torch.int32)
        self.idf[: len(buckets)] = torch.tensor(runs["idf"], dtype=torch.float64).to(self.idf)

    def forward(self, values: Tensor) -> Features:
        """Encodes texts.

        Args:
            values: int64 (B, L), code points, 0 where there is none.

        Returns:
            Features of one token, real where there is any character.
        """
        embedded = self.norm_embed(self.embed(self.dropout(self.weights(values))))
        tokens = self.dropout(self.norm(self.widen(embedded)))
        return Features(tokens[:, None], (values != PAD).any(dim=1, keepdim=True))

    def weights(self, values: Tensor) -> Tensor:
        """The weights of the runs, float (B, I), of length 1; zeros where a text has none of them."""
        counts = self.idf.new_zeros(len(values), self.num_inputs + 1)
        for length in range(1, min(self.max_length, values.shape[1]) + 1):
            buckets, real = hashed_runs(values, length, within=self.within)
            counts = counts.scatter_add(1, self.places[buckets].long(), real.to(counts.dtype))
        return functional.normalize(counts[:, :-1].log1p() * self.idf, dim=1)
