"""How likely values are, given what a decoder says of them."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.modalities.chance import Chance
from pipeline.modalities.rendering.base import Prepared


class Likelihood(Protocol):
    """Of the values of a modality, each independent of the others given the latent."""

    def log_probability(self, parameters: Tensor, values: Tensor) -> Tensor:
        """Nats of each value, (B, *shape), for what a decoder says and values (B, *shape)."""

    def likeliest(self, parameters: Tensor) -> Tensor:
        """The values that are expected, or of symbols the likeliest: (B, *shape)."""

    def drawn(self, parameters: Tensor, chance: Chance) -> Tensor:
        """Values by chance; of numbers those that are expected, whose noise nobody wants to see."""


class Bernoulli:
    """Values in 0..1 as the probabilities of black and white: cross-entropy."""

    def log_probability(self, parameters: Tensor, values: Tensor) -> Tensor:
        return -functional.binary_cross_entropy_with_logits(parameters, values, reduction="none")

    def likeliest(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def drawn(self, parameters: Tensor, chance: Chance) -> Tensor:
        return parameters.sigmoid()


class Gaussian:
    """Normal noise.

    Args:
        scale: Its deviation.
        bounded: Whether values lie in 0..1; decoders then give their logits.
    """

    def __init__(self, scale: float, *, bounded: bool) -> None:
        self.scale, self.bounded = scale, bounded

    def log_probability(self, parameters: Tensor, values: Tensor) -> Tensor:
        distance = (values - self.likeliest(parameters)) / self.scale
        return -0.5 * distance.square() - math.log(self.scale) - 0.5 * math.log(2 * math.pi)

    def likeliest(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid() if self.bounded else parameters

    def drawn(self, parameters: Tensor, chance: Chance) -> Tensor:
        return self.likeliest(parameters)


class Laplace(Gaussian):
    """Laplace noise, of that mean absolute size."""

    def log_probability(self, parameters: Tensor, values: Tensor) -> Tensor:
        distance = (values - self.likeliest(parameters)).abs() / self.scale
        return -distance - math.log(2.0 * self.scale)


class Categorical:
    """Symbols by their logits, (B, *shape, K)."""

    def log_probability(self, parameters: Tensor, values: Tensor) -> Tensor:
        logits = parameters.log_softmax(dim=-1)
        return logits.gather(-1, values[..., None]).squeeze(-1)

    def likeliest(self, parameters: Tensor) -> Tensor:
        return parameters.argmax(dim=-1)

    def drawn(self, parameters: Tensor, chance: Chance) -> Tensor:
        """By the greatest of logits with Gumbel noise (Gumbel 1954)."""
        noise = -chance.exponential(*parameters.shape[1:]).clamp(min=1e-20).log()
        return (parameters + noise).argmax(dim=-1)


def log_likelihood(likelihood: Likelihood, parameters: Tensor, prepared: Prepared) -> Tensor:
    """Nats of samples, (B,): the sum over their values, those that are real.

    Args:
        likelihood: Of the modality.
        parameters: What its decoder says.
        prepared: The values.
    """
    wide = torch.promote_types(parameters.dtype, torch.float32)
    each = likelihood.log_probability(parameters.to(wide), prepared.values)
    if prepared.real is not None:
        each = torch.where(prepared.real, each, torch.zeros_like(each))
    return each.flatten(1).sum(dim=1)
