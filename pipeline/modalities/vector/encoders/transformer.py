"""A transformer over stretches of a series."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features, TransformerBlock
from pipeline.modalities.moments import Moments
from pipeline.modalities.vector.encoders.standardize import Standardize


class VectorTransformer(nn.Module):
    """Neighbouring steps become one token each, which attend to one another.

    Args:
        standardize: The first layer.
        width: D, channels of a token.
        layers: Number of transformer blocks.
        tokens: Of a vector, at most.
        dropout: Inside the blocks.

    Source:
        Nie et al. 2023, "A time series is worth 64 words", section 3.1 (patches), with all channels in one token.
    """

    def __init__(
        self, standardize: Standardize, width: int, layers: int, tokens: int, dropout: float
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.patch = math.ceil(standardize.num_steps / tokens)
        self.num_tokens = math.ceil(standardize.num_steps / self.patch)
        self.embed = nn.Linear(self.patch * 2 * standardize.num_channels, width)
        self.position = nn.Parameter(torch.randn(self.num_tokens, width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 32), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def fit(self, moments: Moments) -> None:
        """Takes over the training set's mean and deviation."""
        self.standardize.fit(moments)

    def forward(self, values: Tensor) -> Features:
        """Encodes series.

        Args:
            values: float32 (B, 2, *shape): the values, and 1 where one is real.

        Returns:
            Features of tokens in the order of time, real where any value of their stretch is.
        """
        steps = self.standardize(values)
        lacking = self.num_tokens * self.patch - steps.mask.shape[1]
        inputs = functional.pad(steps.inputs, (0, lacking))
        patches = inputs.reshape(*inputs.shape[:2], self.num_tokens, self.patch)
        tokens = self.embed(patches.transpose(1, 2).flatten(2)) + self.position
        padded_mask = functional.pad(steps.mask, (0, lacking))
        mask = padded_mask.reshape(len(padded_mask), self.num_tokens, self.patch).any(dim=2)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return Features(self.norm(tokens), mask)
