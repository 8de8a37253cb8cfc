"""A vision transformer over images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.image.encoders.grid import MAX_GRID, as_pixels, grid_features
from pipeline.modalities.layers import Features, TransformerBlock


class ImageViT(nn.Module):
    """Square patches of an image become a token each, which attend to one another.

    There is no class token: what a fusion does with the tokens takes its place.

    Args:
        size: Height and width of the images, pixels.
        width: D, channels of a token.
        patch: Side of a patch, pixels; an image that it does not divide is continued in grey.
        layers: Number of transformer blocks.
        heads: Of the attention.
        inner: Channels of the tokens within the network, divisible by ``heads``.
        dropout: Inside the blocks.

    Source:
        Dosovitskiy et al. 2021, "An image is worth 16x16 words", equations 1 to 3.
    """

    def __init__(
        self,
        size: int,
        width: int,
        patch: int,
        layers: int,
        heads: int,
        inner: int,
        dropout: float,
    ) -> None:
        super().__init__()
        side = math.ceil(size / patch)
        self.lacking = side * patch - size
        self.side = side
        self.embed = nn.Conv2d(3, inner, kernel_size=patch, stride=patch)
        self.position = nn.Parameter(torch.randn(side * side, inner) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(inner, heads, dropout, 4) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(inner)
        self.pool = nn.AdaptiveAvgPool2d(min(side, MAX_GRID))
        self.project = nn.Linear(inner, width)

    def forward(self, values: Tensor) -> Features:
        """Encodes images.

        Args:
            values: uint8 (B, H, W, 3).

        Returns:
            Features of at most 49 tokens, row by row; all real.
        """
        pixels = as_pixels(values, self.position.dtype)
        patches = self.embed(functional.pad(pixels, (0, self.lacking, 0, self.lacking)))
        tokens = self.dropout(patches.flatten(2).transpose(1, 2) + self.position)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask)
        maps = self.norm(tokens).transpose(1, 2).unflatten(2, (self.side, self.side))
        return grid_features(self.project(self.pool(maps).flatten(2).transpose(1, 2)))
