"""A residual network over images, of any depth and width."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.image.encoders.grid import MAX_GRID, as_pixels, grid_features
from pipeline.modalities.layers import Features

Depth = Literal[10, 18, 34]
# Blocks of each stage: two convolutions a block, and one more layer at either end.
BLOCKS: dict[Depth, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
}
MAX_GROUPS = 32  # of channels that are normalised together


class ImageResNet(nn.Module):
    """A residual network, trained from scratch: uint8 images to a grid of tokens.

    Channels are normalised in groups, within each image, so that a sample does not depend on its neighbours.

    Args:
        size: Height and width of the images, pixels.
        width: D, channels of a token.
        depth: Layers with weights.
        channels: C of the first stage; each of the next three has twice as many.
        small_stem: Begins with a 3x3 convolution at full size, rather than one that leaves a quarter of each side.

    Source:
        He et al. 2016, "Deep residual learning for image recognition", table 1, and section 4.2 for small images; norms
        as in Wu & He 2018, "Group normalization", section 3.
    """

    def __init__(
        self, size: int, width: int, depth: Depth, channels: int, *, small_stem: bool
    ) -> None:
        super().__init__()
        # As many in all stages, so that the last one's groups are of many channels: there a map may be one pixel.
        groups = math.gcd(MAX_GROUPS, channels // 2)
        self.stem = (_small_stem if small_stem else _large_stem)(channels, groups)
        sizes = [channels << stage for stage in range(len(BLOCKS[depth]))]
        self.stages = nn.Sequential(
            *(
                _stage(sizes[max(0, stage - 1)], size_of, blocks, groups, stride=2 if stage else 1)
                for stage, (size_of, blocks) in enumerate(zip(sizes, BLOCKS[depth], strict=True))
            )
        )
        side = min(MAX_GRID, math.ceil(size / (8 if small_stem else 32)))
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.project = nn.Linear(sizes[-1], width)
        self.position = nn.Parameter(torch.randn(side * side, width) * 0.02)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes images.

        Args:
            values: uint8 (B, H, W, 3).

        Returns:
            Features of at most 49 tokens, row by row; all real.
        """
        maps = self.pool(self.stages(self.stem(as_pixels(values, self.position.dtype))))
        tokens = self.project(maps.flatten(2).transpose(1, 2)) + self.position
        return grid_features(self.norm(tokens))


class _Block(nn.Module):
    """Two 3x3 convolutions around which the input is added; named as in torchvision, whose weights fit."""

    def __init__(self, in_channels: int, channels: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.GroupNorm(groups, channels)
        keeps_shape = stride == 1 and in_channels == channels
        self.downsample = (
            None
            if keeps_shape
            else nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False),
                nn.GroupNorm(groups, channels),
            )
        )

    def forward(self, maps: Tensor) -> Tensor:
        """float (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        residual = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return functional.relu(shortcut + residual)


def _stage(in_channels: int, channels: int, blocks: int, groups: int, stride: int) -> nn.Sequential:
    first = _Block(in_channels, channels, groups, stride)
    return nn.Sequential(first, *(_Block(channels, channels, groups, 1) for _ in range(blocks - 1)))


def _small_stem(channels: int, groups: int) -> nn.Sequential:
    convolution = nn.Conv2d(3, channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(groups, channels), nn.ReLU())


def _large_stem(channels: int, groups: int) -> nn.Sequential:
    convolution = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(groups, channels), nn.ReLU(), pool)
