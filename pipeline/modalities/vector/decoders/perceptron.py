"""The network that makes vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import Chance
from pipeline.modalities.layers import perceptron
from pipeline.modalities.moments import Moments
from pipeline.modalities.rendering.base import Prepared
from pipeline.modalities.vector.encoders.standardize import MOST_DEVIATIONS

LAYERS = 2


class VectorRenderer(nn.Module):
    """Decodes latents to numbers of deviation 1; see :class:`pipeline.modalities.rendering.base.Renderer`.

    Args:
        shape: (L,) features, or (T, C) of a series.
        width: Numbers of a latent (D); 0 for no network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape[-1]))
        self.register_buffer("deviation", torch.ones(shape[-1]))
        layers = perceptron(width, math.prod(shape), LAYERS, 2 * width, 0.0) if width else []
        self.decoder = nn.Sequential(*layers)

    def prepare(self, values: Tensor) -> Prepared:
        """float32 (B, 2, *shape), values and 1 where one is real -> (B, *shape); zeros where one is missing."""
        real = values[:, 1] > 0
        # Halves, since the difference of two large numbers may not fit.
        distance = (values[:, 0] / 2 - self.mean / 2) / self.deviation * 2
        distance = distance.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        return Prepared(torch.where(real, distance, distance.new_zeros(())), real)

    def forward(self, latent: Tensor) -> Tensor:
        """float (B, D) -> (B, *shape)."""
        numbers: Tensor = self.decoder(latent)
        return numbers.reshape(len(latent), *self.shape)

    def finish(self, values: Tensor, chance: Chance) -> Tensor:
        """float32 (B, *shape), as they are stored."""
        cut = values.float().clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        return torch.nan_to_num(cut * self.deviation + self.mean)

    def fit(self, statistics: Moments) -> None:
        """Takes over the training set's mean and deviation, of each feature or channel."""
        for buffer, values in (
            (self.mean, statistics["mean"]),
            (self.deviation, statistics["deviation"]),
        ):
            buffer.copy_(torch.tensor(values, dtype=torch.float64))
