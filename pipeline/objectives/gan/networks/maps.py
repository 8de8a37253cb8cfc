"""Players over maps: images, and log-mel spectrograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.chance import Chance
from pipeline.objectives.gan.networks.spectral import Normalising, spectral_norm

GROUPS = 8  # of channels that are normalised together
SMALLEST = 4  # of a side of the map that up-sampling begins with
NOISES = 4  # maps of noise of a block
SLOPE = 0.2  # of the discriminator's rectifiers below zero


class MapGenerator(nn.Module):
    """Noise and a condition -> a map, by residual up-sampling convolutions with conditional normalisation.

    Each group of channels of a sample is normalised by itself, never over the batch, so that a map does not depend on
    what else is in the batch; scale and shift follow noise and condition. Single pixels get noise of their own, which
    no convolution of a small noise could give them.

    Args:
        shape: (C, H, W) of the maps.
        noise: Numbers of noise a sample (Z).
        condition: Numbers of a condition (D).
        channels: Of the finest maps but the last; coarser ones have more.
        patch: Pixels of a side that are made together.

    Source:
        Miyato & Koyama 2018, "cGANs with projection discriminator", figure 14 (blocks); Dumoulin et al. 2017, "A
        learned representation for artistic style", equation 5 (conditional scale and shift); Karras et al. 2019, "A
        style-based generator architecture for generative adversarial networks", section 3.2 (noise of pixels).
    """

    def __init__(
        self, shape: Sequence[int], noise: int, condition: int, channels: int, patch: int
    ) -> None:
        super().__init__()
        self.shape, self.patch = tuple(shape), patch
        sizes = sizes_of(shape[1], shape[2], patch)
        widths = widths_of(len(sizes), channels)
        self.start = (widths[0], *sizes[0])
        self.first = nn.Linear(noise + condition, math.prod(self.start))
        self.blocks = nn.ModuleList(
            _UpBlock(before, after, noise + condition) for before, after in pairwise(widths)
        )
        self.norm = nn.GroupNorm(GROUPS, widths[-1])
        self.last = nn.Conv2d(widths[-1], shape[0] * patch**2, 3, padding=1)

    def forward(self, noise: Tensor, condition: Tensor, chance: Chance) -> Tensor:
        """Makes maps.

        Args:
            noise: float32 (B, Z).
            condition: float32 (B, D).
            chance: Of the noise of pixels.

        Returns:
            float32 (B, C, H, W), any size of number.
        """
        style = torch.cat([noise, condition], dim=1)
        maps = self.first(style).view(-1, *self.start)
        for block in self.blocks:
            maps = block(maps, style, chance)
        made = functional.pixel_shuffle(self.last(functional.relu(self.norm(maps))), self.patch)
        cut: Tensor = made[:, :, : self.shape[1], : self.shape[2]]
        return cut


class MapCritic(nn.Module):
    """A map -> its features, by residual down-sampling convolutions.

    Args:
        shape: (C, H, W) of the maps.
        channels: As of the generator.
        patch: The same.
        layer: What is done to each layer: spectral normalisation of a discriminator's.

    Attributes:
        width: Numbers of the features.

    Source:
        Miyato et al. 2018, "Spectral normalization for generative adversarial networks", algorithm 1; blocks as in
        Miyato & Koyama 2018, figure 14.
    """

    def __init__(
        self, shape: Sequence[int], channels: int, patch: int, layer: Normalising = spectral_norm
    ) -> None:
        super().__init__()
        self.patch = patch
        widths = widths_of(len(sizes_of(shape[1], shape[2], patch)), channels)[::-1]
        self.first = layer(nn.Conv2d(shape[0] * patch**2, widths[0], 3, padding=1))
        self.blocks = nn.ModuleList(
            _DownBlock(before, after, layer) for before, after in pairwise(widths)
        )
        self.last = layer(nn.Conv2d(widths[-1], widths[-1], 3, padding=1))
        self.width = widths[-1]

    def forward(self, maps: Tensor) -> Tensor:
        """float32 (B, C, H, W) -> (B, width), sums over places by the root of their number."""
        rest = [-side % self.patch for side in maps.shape[2:]]
        maps = functional.pad(maps, (0, rest[1], 0, rest[0]))
        maps = self.first(functional.pixel_unshuffle(maps, self.patch))
        for block in self.blocks:
            maps = block(maps)
        maps = functional.leaky_relu(self.last(functional.leaky_relu(maps, SLOPE)), SLOPE)
        # Values made with plain sums, as published, were farther from the demo's validation split.
        features: Tensor = maps.sum(dim=(2, 3)) / math.sqrt(maps.shape[2] * maps.shape[3])
        return features


class _UpBlock(nn.Module):
    """Twice the size: a residual block whose normalisation follows the style."""

    def __init__(self, before: int, after: int, style: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_StyledNorm(before, style), _StyledNorm(after, style)])
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)]
        )
        self.beside = nn.Conv2d(before, after, 1)
        self.noise = nn.Conv2d(NOISES, after, 1, bias=False)

    def forward(self, maps: Tensor, style: Tensor, chance: Chance) -> Tensor:
        inner = self.convolutions[0](functional.relu(self.norms[0](maps, style)))
        inner = functional.interpolate(inner, scale_factor=2)
        inner = inner + self.noise(chance.normal(NOISES, *inner.shape[2:]))
        inner = self.convolutions[1](functional.relu(self.norms[1](inner, style)))
        # A convolution of one pixel commutes with repeating pixels, and is cheaper before it.
        doubled: Tensor = functional.interpolate(self.beside(maps), scale_factor=2) + inner
        return doubled


class _StyledNorm(nn.Module):
    """Normalises groups of channels; scale and shift are linear in the style."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, affine=False)
        self.style = nn.Linear(style, 2 * channels)

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, dim=1)
        styled: Tensor = self.norm(maps) * (1.0 + scale) + shift
        return styled


class _DownBlock(nn.Module):
    """Half the size, odd sides rounded up."""

    def __init__(self, before: int, after: int, layer: Normalising) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [
                layer(nn.Conv2d(before, after, 3, padding=1)),
                layer(nn.Conv2d(after, after, 3, padding=1)),
            ]
        )
        self.beside = layer(nn.Conv2d(before, after, 1, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        inner = halved(self.convolutions[0](functional.leaky_relu(maps, SLOPE)))
        inner = self.convolutions[1](functional.leaky_relu(inner, SLOPE))
        half: Tensor = self.beside(halved(maps)) + inner
        return half


def halved(maps: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; an odd side's last pixels stand alone."""
    return functional.avg_pool2d(maps, 2, ceil_mode=True)


def sizes_of(height: int, width: int, patch: int) -> list[tuple[int, int]]:
    """Heights and widths in patches, from the coarsest map to the finest, each twice the one before."""
    height, width = -(-height // patch), -(-width // patch)
    doublings = max(1, int(math.log2(max(1.0, min(height, width) / SMALLEST))))
    first = -(-height // 2**doublings), -(-width // 2**doublings)
    return [(first[0] << level, first[1] << level) for level in range(doublings + 1)]


def widths_of(levels: int, channels: int) -> list[int]:
    """Channels of those maps: half as many again with each halving, at most four times those of the finest."""
    widths = [
        min(4 * channels, int(channels * 1.5 ** (levels - 1 - level))) for level in range(levels)
    ]
    return [-(-width // GROUPS) * GROUPS for width in widths]
