"""Where an image has which colours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

GRID = 4  # mean colours are those of GRID x GRID fields
BINS = (8, 3, 3)  # of hue, saturation and value
NUM_BINS = BINS[0] * BINS[1] * BINS[2]
SIZES = (3 * GRID * GRID + NUM_BINS,)
# Added to a deviation: a colour that hardly any image has is not blown up to the size of the others.
LEAST_DEVIATION = 0.02


def colour_statistics(pixels: Tensor) -> Tensor:
    """Where an image has which colours.

    Args:
        pixels: float (B, 3, H, W), red, green and blue in 0..1.

    Returns:
        float (B, 120): red, green and blue of the fields, row by row, each in 0..1; then the square roots of the shares
        of the pixels that each bin of hue, saturation and value has.

    Source:
        Swain & Ballard 1991, "Color indexing", section 3 (histograms of colours). Square roots as in Arandjelovic &
        Zisserman 2012, "Three things everyone should know to improve object retrieval", section 3.
    """
    fields = functional.adaptive_avg_pool2d(pixels, GRID)
    return torch.cat([fields.permute(0, 2, 3, 1).flatten(1), hue_shares(pixels)], dim=1)


def hue_shares(pixels: Tensor) -> Tensor:
    """Square roots of the shares of the pixels that each bin of hue, saturation and value has.

    Args:
        pixels: float (B, 3, H, W), red, green and blue in 0..1.

    Returns:
        float (B, NUM_BINS).

    Source:
        See :func:`colour_statistics`.
    """
    _, saturations, values = BINS
    places = [
        (channel * count).long().clamp(max=count - 1).flatten(1)
        for channel, count in zip(
            hue_saturation_value(pixels.permute(0, 2, 3, 1)), BINS, strict=True
        )
    ]
    bins = (places[0] * saturations + places[1]) * values + places[2]
    counts = pixels.new_zeros(len(pixels), NUM_BINS)
    counts = counts.scatter_add(1, bins, pixels.new_ones(()).expand(bins.shape))
    return (counts / bins.shape[1]).sqrt()


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
