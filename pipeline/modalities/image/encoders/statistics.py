"""A perceptron over where an image has which colours."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.codecs import dense_column
from pipeline.modalities.layers import Features
from pipeline.modalities.moments import Moments, RunningMoments

GRID = 4  # mean colours are those of GRID x GRID fields
BINS = (8, 3, 3)  # of hue, saturation and value
NUM_STATISTICS = 3 * GRID * GRID + BINS[0] * BINS[1] * BINS[2]
# Added to a deviation: a colour that hardly any image has is not blown up to the size of the others.
LEAST_DEVIATION = 0.02
MOST_DEVIATIONS = 10.0  # an outlier counts as so many
BLOCK_ROWS = 64  # images that are taken at a time


class ImageStatistics(nn.Module):
    """Mean colours of the fields of a grid and a histogram of hue, saturation and value, standardised, to one token.

    Args:
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Of the statistics, and behind each hidden layer.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, layers: int, hidden: int, dropout: float) -> None:
        super().__init__()
        size = NUM_STATISTICS
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
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
        statistics = image_statistics(values.to(self.mean.dtype) / 255.0)
        distance = (statistics - self.mean) / (self.deviation + LEAST_DEVIATION)
        tokens = self.norm(self.layers(distance.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)))[:, None]
        return Features(
            tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        )


def image_statistics(pixels: Tensor) -> Tensor:
    """Where an image has which colours.

    Args:
        pixels: float (B, H, W, 3), red, green and blue in 0..1.

    Returns:
        float (B, 120): red, green and blue of the fields, row by row, each in 0..1; then the square roots of the shares
        of the pixels that each bin of hue, saturation and value has.

    Source:
        Swain & Ballard 1991, "Color indexing", section 3 (histograms of colours). Square roots as in Arandjelovic &
        Zisserman 2012, "Three things everyone should know to improve object retrieval", section 3.
    """
    fields = functional.adaptive_avg_pool2d(pixels.permute(0, 3, 1, 2), GRID)
    hues, saturations, values = BINS
    places = [
        (channel * count).long().clamp(max=count - 1).flatten(1)
        for channel, count in zip(hue_saturation_value(pixels), BINS, strict=True)
    ]
    bins = (places[0] * saturations + places[1]) * values + places[2]
    counts = pixels.new_zeros(len(pixels), hues * saturations * values)
    counts = counts.scatter_add(1, bins, pixels.new_ones(()).expand(bins.shape))
    shares = counts / bins.shape[1]
    return torch.cat([fields.permute(0, 2, 3, 1).flatten(1), shares.sqrt()], dim=1)


def hue_saturation_value(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three float (..., ), each in 0..1, of colours (..., 3) in 0..1; the hue of greys is 0.

    Source:
        Smith 1978, "Color gamut transform pairs", the hexcone model.
    """
    highest, lowest = pixels.amax(dim=-1), pixels.amin(dim=-1)
    span = highest - lowest
    red, green, blue = pixels.unbind(-1)
    safe = torch.where(span > 0, span, torch.ones_like(span))
    sixth = torch.where(
        highest == red,
        ((green - blue) / safe) % 6.0,
        torch.where(highest == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0),
    )
    saturation = span / torch.where(highest > 0, highest, torch.ones_like(highest))
    return torch.where(span > 0, sixth / 6.0, torch.zeros_like(span)), saturation, highest


class ColourStatistics:
    """Collects the moments of the statistics of images.

    Args:
        size: Side of the images, pixels.
    """

    def __init__(self, size: int) -> None:
        self._shape = (size, size, 3)
        self._moments = RunningMoments(NUM_STATISTICS)

    def add(self, column: pa.Array) -> None:
        """Adds a column of images; nulls do not count."""
        for start in range(0, len(column), BLOCK_ROWS):
            dense = dense_column(column.slice(start, BLOCK_ROWS), self._shape)
            pixels = torch.from_numpy(dense.values[dense.present]).float() / 255.0
            rows = image_statistics(pixels).double().numpy()
            self._moments.add(rows, np.isfinite(rows))

    def result(self) -> Moments:
        """What was found."""
        return self._moments.result()
