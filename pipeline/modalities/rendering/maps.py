"""A latent -> feature maps of any height and width, by transposed convolutions."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

SMALLEST_SIDE = 5  # of the maps that a latent becomes at first; the short side of what is made halves down to it
LEAST_CHANNELS = 12


class MapDecoder(nn.Module):
    """Decodes latents to maps: a linear layer to small maps, which transposed convolutions double.

    Args:
        width: Numbers of a latent (D).
        channels: C of the result.
        size: (H, W) of the result.

    Source:
        Radford, Metz & Chintala 2016, "Unsupervised representation learning with deep convolutional generative
        adversarial networks", figure 1; without batch statistics, so that a sample depends on none of its neighbours.
    """

    def __init__(self, width: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.sizes = _sizes(size)
        count = len(self.sizes)
        depths = [max(LEAST_CHANNELS, width >> place) for place in range(count)]
        self.first = nn.Linear(width, depths[0] * math.prod(self.sizes[0]))
        self.stages = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
            for before, after in pairwise(depths)
        )
        self.last = nn.Conv2d(depths[-1], channels, 3, padding=1)
        self.activation = nn.GELU()

    def forward(self, latent: Tensor) -> Tensor:
        """float (B, D) -> (B, C, H, W)."""
        maps = self.activation(self.first(latent).unflatten(1, (-1, *self.sizes[0])))
        for stage, (height, width) in zip(self.stages, self.sizes[1:], strict=True):
            # Doubled maps have a row or column too many where the size is odd.
            maps = self.activation(stage(maps)[:, :, :height, :width])
        made: Tensor = self.last(maps)
        return made


def _sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes on the way to a size, the smallest first; each is half of the next, rounded up."""
    sizes = [size]
    while min(sizes[-1]) > SMALLEST_SIDE:
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes[::-1]
