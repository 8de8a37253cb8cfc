"""A residual network over images, for more and larger images than the small one."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import resnet

from pipeline.modalities.layers import Features

CHANNELS = 512  # of the last stage
STRIDE = 32  # pixels of the image to a side of the last stage's
MAX_GRID = 7  # the features are at most MAX_GRID x MAX_GRID tokens
GROUPS = 32  # of channels that are normalised together
DEPTHS = {18: resnet.resnet18, 34: resnet.resnet34}


class ImageResNet(nn.Module):
    """torchvision's residual network, trained from scratch: uint8 images to a grid of tokens.

    Channels are normalised in groups, within each image, so that a sample does not depend on its neighbours.

    Args:
        size: Height and width of the images, pixels.
        width: D, channels of a token.
        depth: Layers with weights, 18 or 34.

    Source:
        He et al. 2016, "Deep residual learning for image recognition", table 1; norms as in Wu & He 2018, "Group
        normalization", section 3.
    """

    def __init__(self, size: int, width: int, depth: Literal[18, 34]) -> None:
        super().__init__()
        network = DEPTHS[depth](weights=None, norm_layer=partial(nn.GroupNorm, GROUPS))
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.Sequential(network.layer1, network.layer2, network.layer3, network.layer4)
        side = min(MAX_GRID, math.ceil(size / STRIDE))
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.project = nn.Linear(CHANNELS, width)
        self.position = nn.Parameter(torch.randn(side * side, width) * 0.02)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes images.

        Args:
            values: uint8 (B, H, W, 3).

        Returns:
            Features of at most 49 tokens, row by row; all real.
        """
        pixels = values.permute(0, 3, 1, 2).to(self.position.dtype) / 127.5 - 1.0  # NHWC in memory
        maps = self.pool(self.stages(self.stem(pixels)))
        tokens = self.norm(self.project(maps.flatten(2).transpose(1, 2)) + self.position)
        return Features(
            tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        )
