"""Changes of what the discriminator sees, real and made alike, through which gradients flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.modalities.chance import Chance

AugmentName = Literal["colour", "translation", "cutout"]
SHIFT = 0.125  # of a side, at most
CUT = 0.5  # of a side


def diff_augment(maps: Tensor, names: Sequence[AugmentName], chance: Chance) -> Tensor:
    """Changes maps by chance, each by its own.

    Args:
        maps: float32 (B, C, H, W).
        names: Which changes, in this order.
        chance: Of the samples.

    Source:
        Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", section 4: the policies
        ``color``, ``translation`` and ``cutout`` with the ranges of its appendix.
    """
    for name in names:
        maps = CHANGES[name](maps, chance.stream(name))
    return maps


def _colour(maps: Tensor, chance: Chance) -> Tensor:
    """Brightness by up to a half, saturation by up to twice, contrast by up to a half."""
    brightness, saturation, contrast = chance.uniform(3)[:, :, None, None, None].unbind(1)
    maps = maps + (brightness - 0.5)
    grey = maps.mean(dim=1, keepdim=True)
    maps = grey + (maps - grey) * (2.0 * saturation)
    middle = maps.mean(dim=(1, 2, 3), keepdim=True)
    return middle + (maps - middle) * (contrast + 0.5)


def _translation(maps: Tensor, chance: Chance) -> Tensor:
    """Shifts by whole pixels, zeros behind."""
    height, width = maps.shape[2:]
    down = _whole(chance.symmetric(), SHIFT * height)
    right = _whole(chance.symmetric(), SHIFT * width)
    rows = torch.arange(height, device=maps.device) - down[:, None]
    columns = torch.arange(width, device=maps.device) - right[:, None]
    margin = 1 + int(max(SHIFT * height, SHIFT * width))
    padded = functional.pad(maps, (margin, margin, margin, margin))
    rows = (rows + margin)[:, None, :, None].expand(-1, maps.shape[1], -1, padded.shape[3])
    shifted = padded.gather(2, rows)
    columns = (columns + margin)[:, None, None, :].expand(-1, maps.shape[1], height, -1)
    return shifted.gather(3, columns)


def _cutout(maps: Tensor, chance: Chance) -> Tensor:
    """Zeros in a rectangle of half each side, anywhere, also partly outside."""
    height, width = maps.shape[2:]
    top, left = chance.uniform(2).unbind(1)
    inside = []
    for place, size in ((top, height), (left, width)):
        cut = int(size * CUT + 0.5)
        first = (place * (size + 1 - cut % 2)).floor() - cut // 2
        at = torch.arange(size, device=maps.device)
        inside.append((at >= first[:, None]) & (at < first[:, None] + cut))
    hidden = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return maps * (~hidden)


def _whole(values: Tensor, largest: float) -> Tensor:
    """Numbers in [-1, 1) -> whole ones in [-largest, largest], int64."""
    return (
        (values * (int(largest + 0.5) + 0.5))
        .round()
        .long()
        .clamp(-int(largest + 0.5), int(largest + 0.5))
    )


CHANGES = {"colour": _colour, "translation": _translation, "cutout": _cutout}
