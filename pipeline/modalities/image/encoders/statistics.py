"""A perceptron over what is told of an image without anything learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from pipeline.modalities.codecs import dense_column
from pipeline.modalities.image.encoders import colours, edges
from pipeline.modalities.image.encoders.grid import as_unit_range
from pipeline.modalities.layers import Features
from pipeline.modalities.moments import Moments, RunningMoments

Told = Literal["edges", "colours"]
MOST_DEVIATIONS = 10.0  # an outlier counts as so many
BLOCK_ROWS = 64  # images that are taken at a time


@dataclass(frozen=True)
class Description:
    """What is told of images.

    Attributes:
        of: float (B, 3, H, W) in 0..1 -> float (B, S).
        sizes: Of its groups of numbers, which count alike however many numbers each has; S together.
        least_deviation: Added to each number's deviation in the training set.
    """

    of: Callable[[Tensor], Tensor]
    sizes: Sequence[int]
    least_deviation: float = 0.0

    @property
    def size(self) -> int:
        """S."""
        return sum(self.sizes)


DESCRIPTIONS: Mapping[Told, Description] = {
    "edges": Description(edges.edge_statistics, edges.SIZES),
    "colours": Description(colours.colour_statistics, colours.SIZES, colours.LEAST_DEVIATION),
}


class ImageStatistics(nn.Module):
    """A description of an image, standardised, to one token.

    Args:
        told: Which description.
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Of the statistics, and behind each hidden layer.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(self, told: Told, width: int, layers: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.description = DESCRIPTIONS[told]
        size = self.description.size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        sizes = torch.tensor(self.description.sizes)
        share = (size / len(sizes) / sizes).sqrt()
        self.register_buffer("weight", share.repeat_interleave(sizes), persistent=False)
        blocks: list[nn.Module] = [nn.Dropout(dropout)]
        for _ in range(layers):
            blocks += [nn.Linear(size, hidden), nn.GELU(), nn.Dropout(dropout)]
            size = hidden
        self.layers = nn.Sequential(*blocks, nn.Linear(size, width))
        self.norm = nn.LayerNorm(width)

    def fit(self, moments: Moments) -> None:
        """Takes over the training set's mean and deviation."""
        self.mean.copy_(torch.tensor(moments["mean"], dtype=torch.float64))
        self.deviation.copy_(torch.tensor(moments["deviation"], dtype=torch.float64))

    def forward(self, values: Tensor) -> Features:
        """Encodes images.

        Args:
            values: uint8 (B, H, W, 3).

        Returns:
            Features of one token; real.
        """
        statistics = self.description.of(as_unit_range(values, self.mean.dtype))
        distance = (statistics - self.mean) / (self.deviation + self.description.least_deviation)
        distance = distance.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS) * self.weight
        tokens = self.norm(self.layers(distance))[:, None]
        return Features(
            tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        )


class PictureStatistics:
    """Collects the moments of the statistics of images.

    Args:
        told: Which description.
        size: Height and width of the images, pixels.
    """

    def __init__(self, told: Told, size: int) -> None:
        self._description = DESCRIPTIONS[told]
        self._shape = (size, size, 3)
        self._moments = RunningMoments(self._description.size)

    def add(self, column: pa.Array) -> None:
        """Adds a column of images; nulls do not count."""
        for start in range(0, len(column), BLOCK_ROWS):
            dense = dense_column(column.slice(start, BLOCK_ROWS), self._shape)
            images = torch.from_numpy(dense.values[dense.present])
            rows = self._description.of(as_unit_range(images, torch.float32)).double().numpy()
            self._moments.add(rows, np.isfinite(rows))

    def result(self) -> Moments:
        """What was found."""
        return self._moments.result()
