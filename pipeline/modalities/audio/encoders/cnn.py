"""A small residual CNN over log-mel spectrograms."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.modalities.audio.encoders.spectrogram import level_and_contrast
from pipeline.modalities.layers import ConvBlock, Features, stage_channels

MAX_TOKENS = 16  # frames are averaged down to at most so many tokens
MIN_STAGES = 3


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
        maps = self.stages(level_and_contrast(values.to(self.position.dtype)))
        tokens = self.join(self.pool(maps).flatten(1, 2).transpose(1, 2)) + self.position
        return Features(
            self.norm(tokens), torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        )


def _num_stages(num_mels: int, num_frames: int) -> int:
    """Halvings until at most 8 mel bins and 32 frames are left, but at least 2 of either."""
    halvings = max(math.ceil(math.log2(num_mels / 8)), math.ceil(math.log2(num_frames / 32)))
    possible = math.floor(math.log2(min(num_mels, num_frames))) - 1
    return max(1, min(max(MIN_STAGES, halvings), possible))
