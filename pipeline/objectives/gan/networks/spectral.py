"""Layers that do not stretch what they are given."""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

FIRST_ROUNDS, LATER_ROUNDS = (
    15,
    3,
)  # of the power method: when a layer is made, and where it does not learn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


class Normalising(Protocol):
    """A layer -> the same, its weight kept within limits or left alone."""

    def __call__(self, layer: Layer, /) -> Layer:
        """See above."""


def unchanged(layer: Layer) -> Layer:
    """Leaves a layer as it is."""
    return layer


def spectral_norm(layer: Layer) -> Layer:
    """Divides a layer's weight by its largest singular value, the output channels being the rows.

    torch's own keeps the singular vectors of a training as they are where it only looks; those of a moving average of
    the weights are not their average, and the value that comes of it may be near zero.

    Source:
        Miyato et al. 2018, "Spectral normalization for generative adversarial networks", algorithm 1.
    """
    parametrize.register_parametrization(layer, "weight", _SpectralNorm(layer.weight))
    return layer


class _SpectralNorm(nn.Module):
    """A weight -> the same over its largest singular value, by one round of the power method a step of training.

    Args:
        weight: At first.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        left = torch.randn(matrix.shape[0]).to(matrix)
        left, right = _followed(matrix, normalize(left, dim=0), FIRST_ROUNDS)
        self.register_buffer("_u", left)
        self.register_buffer("_v", right)

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        rounds = 1 if self.training else LATER_ROUNDS
        with torch.no_grad():
            left, right = _followed(matrix, self._u, rounds)
            if self.training:
                self._u.copy_(left)
                self._v.copy_(right)
        value = torch.dot(left, matrix @ right)
        return weight / value


def _followed(matrix: Tensor, left: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Singular vectors of a matrix (O, I), near those of its largest value, from a left one (O,)."""
    right = normalize(matrix.T @ left, dim=0)
    for _ in range(rounds):
        left = normalize(matrix @ right, dim=0)
        right = normalize(matrix.T @ left, dim=0)
    return left, right
