"""What encoders of sounds look at: the level of a spectrogram, its contrast to the background, and where it ends."""

from __future__ import annotations

import torch
from torch import Tensor

TOP_DB = 80.0  # the codec's range: nothing lies further below the loudest bin


def level_below_loudest(decibels: Tensor) -> Tensor:
    """float (B, F, N), dB -> the same below the loudest bin, so that how loud a recording is does not matter."""
    return decibels - decibels.amax(dim=(1, 2), keepdim=True)


def is_sounding(level: Tensor) -> Tensor:
    """Which frames are not silent, bool (B, N), of :func:`level_below_loudest`; of silence, all."""
    return level.amax(dim=1) > 1.0 - TOP_DB


def level_and_contrast(decibels: Tensor) -> Tensor:
    """Makes two maps of a spectrogram: its level, and how far it rises above its own background.

    Args:
        decibels: float (B, F, N), dB.

    Returns:
        float (B, 2, F, N): first the level below the loudest bin, from -1 (80 dB, and silent frames) to 1; then the
        difference to the mean of the mel bin over the frames that are not silent, which takes away
        steady noise and the microphone, as cepstral mean subtraction does.
    """
    level = level_below_loudest(decibels)
    sounding = is_sounding(level)[:, None].to(level.dtype)  # (B, 1, N)
    background = (level * sounding).sum(dim=2, keepdim=True) / sounding.sum(dim=2, keepdim=True)
    contrast = (level - background) * sounding
    share = (level * (2.0 / TOP_DB) + 2.0) * sounding - 1.0
    maps = torch.stack([share, contrast * (4.0 / TOP_DB)], dim=-1)
    return maps.permute(0, 3, 1, 2)  # channels last in memory: convolutions are faster


def frames_before_end(decibels: Tensor) -> Tensor:
    """Which frames are not behind the last sounding one, bool (B, N): what follows is what a sound was padded with.

    Args:
        decibels: float (B, F, N), dB.
    """
    sounding = is_sounding(level_below_loudest(decibels))
    return sounding.flip(1).to(torch.int32).cumsum(dim=1).flip(1) > 0
