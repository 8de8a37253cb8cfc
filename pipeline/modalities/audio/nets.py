"""Network that turns log-mel spectrograms into features."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import ConvBlock, Features, stage_channels

MAX_TOKENS = 16  # frames are averaged down to at most so many tokens
MIN_STAGES = 3
TOP_DB = 80.0  # the codec's range: nothing lies further below the loudest bin


class AudioEncoder(nn.Module):
    """A small residual CNN: log-mel spectrograms to one token per stretch of time.

    Halves frequency and time (3 times or more, for long sounds until 32 frames remain), joins what
    is left of the frequencies into the channels, and averages time to at most 16 tokens.

    Args:
        num_mels: F.
        num_frames: N.
        width: D, channels of a token.
    """

    def __init__(self, num_mels: int, num_frames: int, width: int) -> None:
        super().__init__()
        channels = stage_channels(_num_stages(num_mels, num_frames), width)
        self.stages = nn.Sequential(
            ConvBlock(2, channels[0], kernel_size=5),
            *(ConvBlock(before, after) for before, after in pairwise(channels)),
        )
        bins, frames = num_mels, num_frames
        for _ in channels:
            bins, frames = math.ceil(bins / 2), math.ceil(frames / 2)
        self.num_tokens = min(MAX_TOKENS, frames)
        self.pool = nn.AdaptiveAvgPool2d((bins, self.num_tokens))
        self.join = nn.Linear(bins * channels[-1], width)
        self.position = nn.Parameter(torch.randn(self.num_tokens, width) * 0.02)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes log-mel spectrograms; how loud the recording is does not matter.

        Args:
            values: float16 (B, F, N), dB.

        Returns:
            Features of at most 16 tokens in the order of time; all real.
        """
        maps = self.stages(_level_and_contrast(values.to(self.position.dtype)))
        tokens = self.join(self.pool(maps).flatten(1, 2).transpose(1, 2)) + self.position
        return Features(
            self.norm(tokens), torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        )


def _num_stages(num_mels: int, num_frames: int) -> int:
    """Halvings until at most 8 mel bins and 32 frames are left, but at least 2 of either."""
    wanted = max(math.ceil(math.log2(num_mels / 8)), math.ceil(math.log2(num_frames / 32)))
    possible = math.floor(math.log2(min(num_mels, num_frames))) - 1
    return max(1, min(max(MIN_STAGES, wanted), possible))


def _level_and_contrast(decibels: Tensor) -> Tensor:
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
