"""A perceptron over what is told of an image without anything learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.codecs import dense_column
from pipeline.modalities.image.encoders import colours, edges, looks
from pipeline.modalities.image.encoders.grid import as_unit_range
from pipeline.modalities.layers import Features, StatisticsEncoder, alike
from pipeline.modalities.moments import Moments, RunningMoments

Told = Literal["edges", "colours", "looks"]
BLOCK_ROWS = 64  # images that are taken at a time


@dataclass(frozen=True)
class Description:
    """What is told of images.

    Attributes:
        of: float (B, 3, H, W) in 0..1 -> float (B, S).
        sizes: Of its groups of numbers, which count alike however many numbers each has; S together.
        least_deviation: Added to each number's deviation in the training set.
        small_start: See :class:`StatisticsEncoder`.
    """

    of: Callable[[Tensor], Tensor]
    sizes: Sequence[int]
    least_deviation: float = 0.0
    small_start: bool = False

    @property
    def size(self) -> int:
        """S."""
        return sum(self.sizes)


DESCRIPTIONS: Mapping[Told, Description] = {
    "edges": Description(edges.edge_statistics, edges.SIZES),
    "colours": Description(colours.colour_statistics, colours.SIZES, colours.LEAST_DEVIATION),
    "looks": Description(looks.look_statistics, looks.SIZES, small_start=True),
}


class ImageStatistics(StatisticsEncoder):
    """A description of an image, standardised, to one token.

    Args:
        told: Which description.
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Of the statistics, and behind each hidden layer.
    """

    weight: Tensor

    def __init__(self, told: Told, width: int, layers: int, hidden: int, dropout: float) -> None:
        description = DESCRIPTIONS[told]
        super().__init__(
            description.size,
            width,
            layers,
            hidden,
            dropout,
            description.least_deviation,
            small_start=description.small_start,
        )
        self.description = description
        self.register_buffer("weight", alike(description.sizes), persistent=False)

    def forward(self, values: Tensor) -> Features:
        """Encodes images.

        Args:
            values: uint8 (B, H, W, 3).

        Returns:
            Features of one token; real.
        """
        statistics = self.description.of(as_unit_range(values, self.mean.dtype))
        return self.encode(statistics, self.weight)


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
