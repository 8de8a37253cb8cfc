"""Distributions of latents: normal and Laplace, each with its standard form as prior."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance

PriorName = Literal["normal", "laplace"]


class Family(Protocol):
    """A location-scale family, number by number; the prior has location 0 and scale 1."""

    def noise(self, chance: Chance, *shape: int) -> Tensor:
        """What is drawn from the prior, float32 (B, *shape)."""

    def log_density(self, values: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
        """Nats of each number, all of one shape."""

    def divergence(self, location: Tensor, log_scale: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the prior, nats of each number."""


class NormalFamily:
    """Normal distributions; the scale is the standard deviation."""

    def noise(self, chance: Chance, *shape: int) -> Tensor:
        return chance.normal(*shape)

    def log_density(self, values: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
        distance = (values - location) * (-log_scale).exp()
        return -0.5 * distance.square() - log_scale - 0.5 * math.log(2 * math.pi)

    def divergence(self, location: Tensor, log_scale: Tensor) -> Tensor:
        """Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", appendix B."""
        return 0.5 * (location.square() + (2 * log_scale).exp() - 1.0) - log_scale


class LaplaceFamily:
    """Laplace distributions; the scale is the mean absolute distance from the location."""

    def noise(self, chance: Chance, *shape: int) -> Tensor:
        drawn = chance.symmetric(*shape)
        return torch.sign(drawn) * -torch.log1p(-drawn.abs().clamp(max=1 - 2.0**-24))

    def log_density(self, values: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
        return -(values - location).abs() * (-log_scale).exp() - log_scale - math.log(2.0)

    def divergence(self, location: Tensor, log_scale: Tensor) -> Tensor:
        """Source: Gil, Alajaji & Linder 2013, "Rényi divergence measures", table 2, of two Laplace distributions."""
        distance, scale = location.abs(), log_scale.exp()
        return distance + scale * torch.exp(-distance / scale) - 1.0 - log_scale


def family_of(prior: PriorName) -> Family:
    """The family of a setting's name."""
    return NormalFamily() if prior == "normal" else LaplaceFamily()
