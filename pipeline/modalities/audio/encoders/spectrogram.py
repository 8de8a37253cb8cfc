"""What encoders of sounds look at: the level of a spectrogram, and its contrast to the background."""

from __future__ import annotations

import torch
from torch import Tensor

TOP_DB = 80.0  # the codec's range: nothing lies further below the loudest bin


def level_and_contrast(decibels: Tensor) -> Tensor:
    """Makes two maps of a spectrogram: its level, and how far it rises above its own background.

    Args:
        decibels: float (B, F, N), dB.

    Returns:
        float (B, 2, F, N): first the level below the loudest bin, from -1 (80 dB) to 1; then the
        difference to the mean of the mel bin over the frames that are not silent, which takes away
        steady noise and the microphone, as cepstral mean subtraction does.
    """
    level = decibels - decibels.amax(dim=(1, 2), keepdim=True)
    sounding = (level.amax(dim=1, keepdim=True) > 1.0 - TOP_DB).to(level.dtype)  # (B, 1, N)
    background = (level * sounding).sum(dim=2, keepdim=True) / sounding.sum(dim=2, keepdim=True)
    contrast = (level - background) * sounding
    maps = torch.stack([level * (2.0 / TOP_DB) + 1.0, contrast * (4.0 / TOP_DB)], dim=-1)
    return maps.permute(0, 3, 1, 2)  # channels last in memory: convolutions are faster
