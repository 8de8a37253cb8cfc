"""Features that no training has touched: what made values are held against real ones by where nothing else judges."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.metrics.generated.frechet import frechet_distance
from pipeline.objectives.gan.rows import HALF, MAP_DIMENSIONS, features_of

GRID = 8  # places of a side that are seen coarsely
KERNEL = 5


class Yardstick(nn.Module):
    """Random features of a shape, the same in every run and for every model.

    Of a map, one half are random projections of its coarse grid, which say what is where; the other are means and
    deviations of random convolutions, which say how it looks from near. Of other values, projections alone.

    Args:
        shape: Of a value.
        seed: Of the weights.

    Attributes:
        width: Numbers of the features.
    """

    project: Tensor
    filters: Tensor

    def __init__(self, shape: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        self.is_map = len(shape) == MAP_DIMENSIONS
        rng = np.random.default_rng(seed)
        size = shape[0] * GRID**2 if self.is_map else math.prod(shape)
        self.width = features_of(shape)
        # Not kept with the weights: they follow from the seed.
        self.register_buffer("project", _drawn(rng, (size, HALF), size), persistent=False)
        if self.is_map:
            fan = shape[0] * KERNEL**2
            filters = _drawn(rng, (HALF // 2, shape[0], KERNEL, KERNEL), fan)
            self.register_buffer("filters", filters, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """float32 (B, *shape) -> (B, width)."""
        if not self.is_map:
            return values.flatten(1) @ self.project
        coarse = functional.adaptive_avg_pool2d(values, GRID).flatten(1) @ self.project
        near = functional.relu(functional.conv2d(values, self.filters, stride=2))
        means, deviations = near.mean(dim=(2, 3)), near.flatten(2).std(dim=2)
        return torch.cat([coarse, means, deviations], dim=1)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], fan: int) -> Tensor:
    return torch.from_numpy((rng.normal(size=shape) / math.sqrt(fan)).astype(np.float32))


def joint_distance(
    real: NDArray[np.float32], made: NDArray[np.float32], asked: NDArray[np.float32]
) -> float:
    """Fréchet distance of values together with what they were asked to be: wrong ones are far off, too.

    Args:
        real: (N, D) features of real values.
        made: (N, D) of those made of the same conditions.
        asked: (N, V) the conditions, V >= 0.

    Source:
        DeVries et al. 2019, "On the evaluation of conditional GANs", equation 4, with its weight of the conditions: the
        ratio of the mean lengths of the two vectors.
    """
    if not asked.shape[1]:
        return frechet_distance(real, made)
    centred = asked - asked.mean(axis=0)
    lengths = [np.linalg.norm(part - part.mean(axis=0), axis=1).mean() for part in (real, asked)]
    weighed = centred * (lengths[0] / max(lengths[1], 1e-6))
    return frechet_distance(np.hstack([real, weighed]), np.hstack([made, weighed]))
