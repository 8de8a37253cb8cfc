"""A small residual CNN over images."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.modalities.image.encoders.grid import as_pixels, grid_features
from pipeline.modalities.layers import ConvBlock, Features, stage_channels

GRID = 4  # the features are GRID x GRID tokens, whatever the size of the image


class ImageEncoder(nn.Module):
    """A small residual CNN: uint8 images to a grid of 4 x 4 tokens.

    Halves the image until it is 7 pixels wide or less (2 stages for 28 pixels, 5 for 224), so depth
    grows with the size of the image and the cost per pixel does not.

    Args:
        size: Height and width of the images, pixels.
        width: D, channels of a token.

    Source:
        Tokens mix across the grid as in Tolstikhin et al. 2021, "MLP-Mixer", equation 1.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        channels = stage_channels(max(1, math.ceil(math.log2(size / 7))), width)
        self.stages = nn.Sequential(
            ConvBlock(3, channels[0], kernel_size=5),
            *(ConvBlock(before, after) for before, after in pairwise(channels)),
        )
        self.pool = nn.AdaptiveAvgPool2d(GRID)
        self.position = nn.Parameter(torch.randn(GRID * GRID, width) * 0.02)
        self.norm_mix = nn.LayerNorm(width)
        self.mix = nn.Sequential(
            nn.Linear(GRID * GRID, 2 * GRID * GRID),
            nn.GELU(),
            nn.Linear(2 * GRID * GRID, GRID * GRID),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes images.

        Args:
            values: uint8 (B, H, W, 3).

        Returns:
            Features of 16 tokens, row by row; all real.
        """
        pixels = as_pixels(values, self.position.dtype)
        tokens = self.pool(self.stages(pixels)).flatten(2).transpose(1, 2) + self.position
        tokens = tokens + self.mix(self.norm_mix(tokens).transpose(1, 2)).transpose(1, 2)
        return grid_features(self.norm(tokens))
