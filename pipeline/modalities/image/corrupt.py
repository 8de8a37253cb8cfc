"""How images get worse, to see how much of it a model stands.

Source:
    Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations",
    section 4 (noise, blur); Zhong et al. 2017, "Random Erasing" (cut). The severities are our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.modalities.chance import Chance
from pipeline.modalities.facets import Corruption

RANGE = 255.0  # of a channel
REACH = 3.0  # deviations of a blur that its kernel holds


def corruptions() -> Mapping[str, Corruption]:
    """Noise, blur and cut, of uint8 (B, H, W, 3)."""
    return {
        "noise": Corruption("deviation / range of values", (0.05, 0.1, 0.2, 0.4), add_noise),
        "blur": Corruption("deviation / side", (0.01, 0.02, 0.04, 0.08), blur),
        "cut": Corruption("share of the area", (0.1, 0.25, 0.5, 0.75), cut),
    }


def add_noise(values: Tensor, deviation: float, chance: Chance) -> Tensor:
    """Adds white noise to every channel of every pixel.

    Args:
        values: uint8 (B, H, W, 3).
        deviation: Of the noise, as a share of the range of values.
        chance: Of the samples.
    """
    noisy = values + RANGE * deviation * chance.normal(*values.shape[1:])
    return noisy.round().clamp(0, RANGE).to(torch.uint8)


def blur(values: Tensor, deviation: float, chance: Chance) -> Tensor:
    """Convolves images with a Gaussian; what lies outside is the border.

    Args:
        values: uint8 (B, H, W, 3).
        deviation: Of the Gaussian, as a share of the longer side.
        chance: Not drawn from.
    """
    pixels = values.permute(0, 3, 1, 2).float()
    sigma = deviation * max(pixels.shape[2:])
    reach = max(1, math.ceil(REACH * sigma))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (places / sigma).square())
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = functional.pad(pixels, [reach] * 4, mode="replicate")
    blurred = functional.conv2d(padded, kernel[:, :, None], groups=3)
    blurred = functional.conv2d(blurred, kernel[:, :, :, None], groups=3)
    return blurred.round().clamp(0, RANGE).to(torch.uint8).permute(0, 2, 3, 1)


def cut(values: Tensor, area: float, chance: Chance) -> Tensor:
    """Hides a rectangle of the image's shape behind the image's mean colour.

    Args:
        values: uint8 (B, H, W, 3).
        area: Of the rectangle, as a share of the image.
        chance: Of the samples: where it lies.
    """
    height, width = values.shape[1:3]
    extent = math.sqrt(area)
    start = chance.uniform(2) * (1.0 - extent)
    inside = (
        _within(height, start[:, 0], extent)[:, :, None]
        & _within(width, start[:, 1], extent)[:, None, :]
    )
    mean = values.float().mean(dim=(1, 2), keepdim=True).round().to(torch.uint8)
    return torch.where(inside[..., None], mean, values)


def _within(length: int, start: Tensor, extent: float) -> Tensor:
    """bool (B, length): which places lie in a stretch given in shares of the length."""
    place = (torch.arange(length) + 0.5) / length
    return (place >= start[:, None]) & (place < start[:, None] + extent)
