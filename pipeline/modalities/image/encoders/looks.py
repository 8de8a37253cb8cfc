"""All that is told of images: edges and colours by place, and beside them hues and how uneven fields are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.modalities.image.encoders import colours, edges

FIELDS = 4  # a side
SIZES = (*edges.SIZES, colours.NUM_BINS, 3 * FIELDS**2)


def look_statistics(pixels: Tensor) -> Tensor:
    """Statistics of images.

    Args:
        pixels: float (B, 3, H, W), red, green and blue in 0..1.

    Returns:
        float (B, S), the groups of ``SIZES`` one after the other: :func:`edges.edge_statistics`,
        :func:`colours.hue_shares`, and :func:`unevenness`.
    """
    parts = [edges.edge_statistics(pixels), colours.hue_shares(pixels), unevenness(pixels)]
    return torch.cat(parts, dim=1)


def unevenness(pixels: Tensor) -> Tensor:
    """The deviation of red, green and blue within fields, float (B, 3 * FIELDS ** 2), of float (B, 3, H, W) in 0..1.

    Source:
        Stricker & Orengo 1995, "Similarity of color images", section 3.2 (the second moment of each channel).
    """
    mean = functional.adaptive_avg_pool2d(pixels, FIELDS)
    squares = functional.adaptive_avg_pool2d(pixels.square(), FIELDS)
    return (squares - mean.square()).clamp(min=0).sqrt().flatten(1)
