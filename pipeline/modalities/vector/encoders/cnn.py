"""A CNN along the time of series."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features, stage_channels
from pipeline.modalities.moments import Moments
from pipeline.modalities.vector.encoders.standardize import Standardize

MAX_TOKENS = 16  # steps are halved until no more are left


class VectorCnn(nn.Module):
    """A small residual CNN: a series to one token per stretch of time.

    The norms are of the channels of one step, which keeps the level of a series and never mixes in steps that are
    padding.

    Args:
        standardize: The first layer.
        width: D, channels of a token.
        kernel_size: Steps that a convolution sees, odd.

    Source:
        Wang et al. 2017, "Time series classification from scratch with deep neural networks", section II.C (residual
        networks of one-dimensional convolutions); norms as in Liu et al. 2022, "A ConvNet for the 2020s", section 2.6.
    """

    def __init__(self, standardize: Standardize, width: int, kernel_size: int) -> None:
        super().__init__()
        self.standardize = standardize
        halvings = math.ceil(math.log2(max(1.0, standardize.num_steps / MAX_TOKENS)))
        channels = [2 * standardize.num_channels, *stage_channels(1 + halvings, width)]
        self.stages = nn.ModuleList(
            _Stage(before, after, kernel_size, stride=2 if index else 1)
            for index, (before, after) in enumerate(pairwise(channels))
        )
        num_tokens = standardize.num_steps
        for _ in range(halvings):
            num_tokens = math.ceil(num_tokens / 2)
        self.num_tokens = num_tokens
        self.position = nn.Parameter(torch.randn(num_tokens, width) * 0.02)
        self.norm = nn.LayerNorm(width)

    def fit(self, moments: Moments) -> None:
        """Takes over the training set's mean and deviation."""
        self.standardize.fit(moments)

    def forward(self, values: Tensor) -> Features:
        """Encodes series.

        Args:
            values: float32 (B, 2, *shape): the values, and 1 where one is real.

        Returns:
            Features of at most 16 tokens in the order of time, real where any value of their stretch is.
        """
        steps = self.standardize(values)
        maps, mask = steps.inputs, steps.mask
        for stage in self.stages:
            maps = stage(maps)
            if stage.stride == 2:
                mask = any_of_two(mask)
        tokens = maps.transpose(1, 2) + self.position
        return Features(self.norm(tokens), mask)


def any_of_two(mask: Tensor) -> Tensor:
    """bool (B, T) -> bool (B, ceil(T / 2)): whether either of two neighbours is True."""
    even = functional.pad(mask, (0, mask.shape[1] % 2))
    return even.reshape(len(mask), -1, 2).any(dim=2)


class _Stage(nn.Module):
    """A strided convolution, then a residual one: (B, C, T) -> (B, C', ceil(T / stride))."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.down = nn.Conv1d(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2
        )
        self.norm_down = nn.LayerNorm(out_channels)
        self.refine = nn.Conv1d(out_channels, out_channels, 3, padding=1)
        self.norm_refine = nn.LayerNorm(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.gelu(_of_channels(self.norm_down, self.down(maps)))
        return maps + functional.gelu(_of_channels(self.norm_refine, self.refine(maps)))


def _of_channels(norm: nn.LayerNorm, maps: Tensor) -> Tensor:
    normed: Tensor = norm(maps.transpose(1, 2)).transpose(1, 2)
    return normed
