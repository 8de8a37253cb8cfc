"""A small residual CNN over log-mel spectrograms, and a recurrent network along what is left of their time."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.modalities.audio.encoders.spectrogram import frames_before_end, level_and_contrast
from pipeline.modalities.layers import ConvBlock, Features, stage_channels
from pipeline.modalities.recurrent import Bidirectional

MAX_TOKENS = 64  # frames are halved, then averaged, down to at most so many tokens
MAX_STEPS = 128  # that halving leaves


class AudioCrnn(nn.Module):
    """Halves frequency and time, joins the frequencies into the channels, and reads time in both directions.

    Args:
        num_mels: F.
        num_frames: N.
        width: D, channels of a token.
        layers: Recurrent layers, of GRUs.
        dropout: Before and between the recurrent layers.

    Source:
        Choi et al. 2017, "Convolutional recurrent neural networks for music classification", section 2.4; in both
        directions as in Çakır et al. 2017, "Convolutional recurrent neural networks for polyphonic sound event
        detection", section III.
    """

    def __init__(
        self, num_mels: int, num_frames: int, width: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        channels = stage_channels(_num_stages(num_mels, num_frames), width)
        self.stages = nn.Sequential(
            ConvBlock(2, channels[0], kernel_size=5),
            *(ConvBlock(before, after) for before, after in pairwise(channels)),
        )
        bins = num_mels
        for _ in channels:
            bins = math.ceil(bins / 2)
        self.num_tokens = tokens_of(num_mels, num_frames)
        self.pool = nn.AdaptiveAvgPool2d((bins, self.num_tokens))
        self.join = nn.Linear(bins * channels[-1], width)
        self.norm_join = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = Bidirectional("gru", width, layers, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes log-mel spectrograms; how loud the recording is does not matter.

        Args:
            values: float16 (B, F, N), dB.

        Returns:
            Features of at most 64 tokens in the order of time, real up to the end of the sound.
        """
        decibels = values.to(self.norm.weight.dtype)
        maps = self.stages(level_and_contrast(decibels))
        joined = self.join(self.pool(maps).flatten(1, 2).transpose(1, 2))
        mask = self._begins(frames_before_end(decibels))
        steps = self.dropout(self.norm_join(joined))
        return Features(self.norm(steps + self.recurrent(steps, mask)), mask)

    def _begins(self, real: Tensor) -> Tensor:
        """Whether a token's stretch begins before the end of the sound: bool (B, N) -> (B, L)."""
        places = torch.arange(self.num_tokens, device=real.device)
        return real[:, places * real.shape[1] // self.num_tokens]


def tokens_of(num_mels: int, num_frames: int) -> int:
    """Tokens of a spectrogram."""
    for _ in range(_num_stages(num_mels, num_frames)):
        num_frames = math.ceil(num_frames / 2)
    return min(MAX_TOKENS, num_frames)


def _num_stages(num_mels: int, num_frames: int) -> int:
    """Three halvings, more where more than 128 steps were left, fewer where none would be."""
    halvings = max(3, math.ceil(math.log2(max(1.0, num_frames / MAX_STEPS))))
    return max(1, min(halvings, math.floor(math.log2(min(num_mels, num_frames))) - 1))
