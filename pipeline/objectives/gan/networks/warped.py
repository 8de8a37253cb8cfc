"""A generator of maps that are alike but for where they stand and how long they are, as spoken words are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.chance import Chance

WIDTH = 16  # of the perceptron, times the channels
# Of what a number of noise moves a map by at first; of half a side, and of the logarithm of its length.
ACROSS, DOWN, STRETCH = 0.2, 0.05, 0.3
FIRST = 0.3  # deviation of the weights of noise


class WarpedGenerator(nn.Module):
    """Noise and a condition -> a map, by a perceptron, which is then moved and stretched as the noise says.

    A perceptron makes sharp maps of few samples, of which it learns the places; convolutions would have to learn each
    of these anew. What differs in place and length alone is one map to it.

    Args:
        shape: (C, H, W) of the maps.
        noise: Numbers of noise a sample (Z).
        condition: Numbers of a condition (D).
        channels: A 16th of the perceptron's width.
        patch: Of convolutions; there are none.

    Source:
        Jaderberg et al. 2015, "Spatial transformer networks", section 3, of a generator's map.
    """

    def __init__(
        self, shape: Sequence[int], noise: int, condition: int, channels: int, patch: int
    ) -> None:
        super().__init__()
        self.shape, width = tuple(shape), WIDTH * channels
        self.layers = nn.Sequential(
            nn.Linear(noise + condition, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, math.prod(shape)),
        )
        self.place = nn.Linear(noise, 3)
        nn.init.normal_(self.place.weight, std=FIRST)
        nn.init.zeros_(self.place.bias)

    def forward(self, noise: Tensor, condition: Tensor, chance: Chance) -> Tensor:
        """float32 (B, Z) and (B, D) -> (B, C, H, W), any size of number; ``chance`` is not needed."""
        maps = self.layers(torch.cat([noise, condition], dim=1)).view(-1, *self.shape)
        across, down, length = self.place(noise).unbind(dim=1)
        return moved(maps, ACROSS * across, DOWN * down, (STRETCH * length).exp())


def moved(maps: Tensor, across: Tensor, down: Tensor, squeeze: Tensor) -> Tensor:
    """Maps as they are seen from elsewhere, between pixels by linear interpolation; the edge goes on beyond itself.

    Args:
        maps: float32 (B, C, H, W).
        across: float32 (B,), how far what is seen lies to the right, in halves of the width.
        down: The same downwards, in halves of the height.
        squeeze: float32 (B,), above 0: how many columns are seen as one, around the middle.
    """
    zeros, ones = torch.zeros_like(across), torch.ones_like(across)
    rows = torch.stack([torch.stack([squeeze, zeros, across]), torch.stack([zeros, ones, down])])
    grid = functional.affine_grid(rows.permute(2, 0, 1), [*maps.shape], align_corners=False)
    return functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
