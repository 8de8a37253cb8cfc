"""Players over values that are no maps: vectors, and series of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import Chance
from pipeline.objectives.gan.networks.maps import SLOPE
from pipeline.objectives.gan.networks.spectral import Normalising, spectral_norm

LAYERS = 3


class VectorGenerator(nn.Module):
    """Noise and a condition -> a vector, by a multi-layer perceptron.

    Args:
        shape: Of a value.
        noise: Numbers of noise a sample (Z).
        condition: Numbers of a condition (D).
        channels: Of the layers, each four times as wide.
        patch: Of maps; vectors have none.
    """

    def __init__(
        self, shape: Sequence[int], noise: int, condition: int, channels: int, patch: int
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        widths = [noise + condition, *[4 * channels] * (LAYERS - 1), math.prod(shape)]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, noise: Tensor, condition: Tensor, chance: Chance) -> Tensor:
        """float32 (B, Z) and (B, D) -> (B, *shape); ``chance`` is not needed."""
        values: Tensor = self.layers[0](torch.cat([noise, condition], dim=1))
        for layer in self.layers[1:]:
            values = layer(nn.functional.leaky_relu(values, SLOPE))
        return values.view(-1, *self.shape)


class VectorCritic(nn.Module):
    """A vector -> its features, by a perceptron; see :class:`.maps.MapCritic`.

    Args:
        shape: Of a value.
        channels: As of the generator.
        patch: The same.
        layer: As of maps.

    Attributes:
        width: Numbers of the features.
    """

    def __init__(
        self, shape: Sequence[int], channels: int, patch: int, layer: Normalising = spectral_norm
    ) -> None:
        super().__init__()
        self.width = 4 * channels
        widths = [math.prod(shape), *[self.width] * (LAYERS - 1)]
        self.layers = nn.ModuleList(
            layer(nn.Linear(before, after)) for before, after in pairwise(widths)
        )

    def forward(self, values: Tensor) -> Tensor:
        """float32 (B, *shape) -> (B, width)."""
        values = values.flatten(1)
        for layer in self.layers:
            values = nn.functional.leaky_relu(layer(values), SLOPE)
        return values
