"""A network along the time of log-mel spectrograms that keeps its resolution: for what is said."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.audio.encoders.spectrogram import frames_before_end, level_and_contrast
from pipeline.modalities.layers import Features, TransformerBlock, stage_channels
from pipeline.modalities.recurrent import Bidirectional

Context = Literal["lstm", "gru", "transformer"]
STAGES = 3  # each halves the mel bins; the first ones halve time, as often as asked
EPSILON = 1e-5


class AudioSequence(nn.Module):
    """Convolutions, then a recurrent network in both directions or a transformer, over the frames before the end.

    What lies behind the end of a sound reaches nothing: what a token becomes does not depend on how long a silence the
    sound was padded with.

    Args:
        num_mels: F.
        width: D, channels of a token.
        halvings: Of the time.
        context: What reads the tokens.
        layers: Of it.
        dropout: Before it, and inside.

    Source:
        The convolutions over two dimensions before recurrent layers of Amodei et al. 2016, "Deep Speech 2", section
        3.3, over level and contrast; with a transformer as in Gulati et al. 2020, "Conformer", section 2, without its
        convolutions.
    """

    def __init__(
        self,
        num_mels: int,
        width: int,
        halvings: int,
        context: Context,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.halvings = halvings
        channels = [2, *stage_channels(STAGES, width)]
        self.stages = nn.ModuleList(
            _Stage(before, after, 2 if place < halvings else 1)
            for place, (before, after) in enumerate(pairwise(channels))
        )
        bins = num_mels
        for _ in range(STAGES):
            bins = math.ceil(bins / 2)
        self.join = nn.Linear(bins * channels[-1], width)
        self.norm_join = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = (
            None if context == "transformer" else Bidirectional(context, width, layers, dropout)
        )
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 32), dropout)
            for _ in range(layers if context == "transformer" else 0)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes log-mel spectrograms; how loud the recording is does not matter.

        Args:
            values: float16 (B, F, N), dB.

        Returns:
            Features of one token for every ``2 ** halvings`` frames, in the order of time, real up to the end of the
            sound.
        """
        decibels = values.to(self.norm.weight.dtype)
        mask = frames_before_end(decibels)
        maps = level_and_contrast(decibels) * mask[:, None, None].to(decibels.dtype)
        for stage in self.stages:
            maps, mask = stage(maps, mask)
        tokens = self.norm_join(self.join(maps.flatten(1, 2).transpose(1, 2)))
        if self.recurrent is not None:
            tokens = self.dropout(tokens)
            tokens = tokens + self.recurrent(tokens, mask)
        else:
            tokens = self.dropout(tokens + _positions(tokens))
            for block in self.blocks:
                tokens = block(tokens, mask)
        return Features(self.norm(tokens), mask)


class _Stage(nn.Module):
    """Halves the mel bins, and time where ``stride`` is 2, and refines what is left of them.

    As :class:`pipeline.modalities.layers.ConvBlock`, but for the frames behind the end, which stay zeros, as what a
    convolution sees beyond a map's edge are.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.down = nn.Conv2d(before, after, 3, stride=(2, stride), padding=1, bias=False)
        self.norm_down = _ChannelNorm(after)
        self.refine = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm_refine = _ChannelNorm(after)

    def forward(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps float (B, C, F, N) and their mask, bool (B, N), to (B, C', ceil(F / 2), N') and (B, N')."""
        mask = mask[:, :: self.stride]
        maps = functional.relu(self.norm_down(self.down(maps), mask))
        return maps + functional.relu(self.norm_refine(self.refine(maps), mask)), mask


class _ChannelNorm(nn.Module):
    """Norm of each channel of each sample over its real frames, with a learned scale and offset; zeros elsewhere.

    Source:
        Ulyanov et al. 2016, "Instance normalization", equation 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor, mask: Tensor) -> Tensor:
        """Float (B, C, F, N) of which the frames of ``mask``, bool (B, N), are real -> the same shape."""
        real = mask[:, None, None]
        count = maps.shape[2] * real.sum(dim=3, keepdim=True).clamp(min=1)
        numbers = torch.where(real, maps, 0.0).float()
        mean = numbers.sum(dim=(2, 3), keepdim=True) / count
        centred = torch.where(real, numbers - mean, 0.0)
        variance = centred.square().sum(dim=(2, 3), keepdim=True) / count
        normed = centred * torch.rsqrt(variance + EPSILON) * self.weight + self.bias
        return torch.where(real, normed, 0.0).to(maps.dtype)


def _positions(tokens: Tensor) -> Tensor:
    """Waves of places, float (L, D), for tokens (B, L, D).

    Source:
        Vaswani et al. 2017, "Attention is all you need", section 3.5.
    """
    length, width = tokens.shape[1:]
    places = torch.arange(length, device=tokens.device, dtype=torch.float32)
    rates = torch.exp(
        torch.arange(0, width, 2, device=tokens.device) * (-math.log(10_000.0) / width)
    )
    angles = places[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width].to(tokens.dtype)
