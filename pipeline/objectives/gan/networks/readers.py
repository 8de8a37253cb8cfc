"""Values -> the noise that they could have been made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.objectives.gan.networks.maps import MapCritic
from pipeline.objectives.gan.networks.spectral import unchanged
from pipeline.objectives.gan.networks.vectors import VectorCritic

LEAST_CHANNELS = 8
LOWEST, HIGHEST = -6.0, 2.0  # of the log-scale


class Read(NamedTuple):
    """What noise a value tells of: a normal distribution.

    Attributes:
        location: float32 (B, Z).
        log_scale: float32 (B, Z).
    """

    location: Tensor
    log_scale: Tensor


class NoiseReader(nn.Module):
    """A value and its condition -> the noise that a generator can make it of.

    Args:
        shape: Of a value.
        noise: Numbers of noise a sample (Z).
        condition: Numbers of a condition (D).
        channels: As of the generator.
        patch: The same.
        by_places: Whether it looks at maps by convolutions, with half as many channels; else by a perceptron.

    Source:
        Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric", section 2.1 (the encoder).
    """

    def __init__(
        self,
        shape: Sequence[int],
        noise: int,
        condition: int,
        channels: int,
        patch: int,
        by_places: bool,
    ) -> None:
        super().__init__()
        self.network: nn.Module
        if by_places:
            network = MapCritic(shape, max(LEAST_CHANNELS, channels // 2), patch, unchanged)
            self.network, width = network, network.width
        else:
            perceptron = VectorCritic(shape, 4 * channels, patch, unchanged)
            self.network, width = perceptron, perceptron.width
        self.last = nn.Linear(width + condition, 2 * noise)

    def forward(self, values: Tensor, condition: Tensor) -> Read:
        """float32 (B, *shape), from -1 to 1 where they are bounded, and (B, D)."""
        features = torch.cat([self.network(values), condition], dim=1)
        location, log_scale = self.last(features).chunk(2, dim=1)
        return Read(location, log_scale.clamp(LOWEST, HIGHEST))
