"""A transformer over the time of log-mel spectrograms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.audio.encoders.spectrogram import level_and_contrast
from pipeline.modalities.layers import Features, TransformerBlock

MAX_TOKENS = 64  # frames are averaged down to at most so many tokens


class AudioTransformer(nn.Module):
    """Two convolutions along time that halve it once, then transformer blocks over what is left of it.

    Args:
        num_mels: F.
        num_frames: N.
        width: D, channels of a token.
        layers: Number of transformer blocks.
        dropout: Inside the blocks.

    Source:
        The stem of Radford et al. 2022, "Robust speech recognition via large-scale weak supervision", section 2.2,
        over level and contrast in place of the level alone.
    """

    def __init__(
        self, num_mels: int, num_frames: int, width: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.widen = nn.Conv1d(2 * num_mels, width, kernel_size=3, padding=1)
        self.halve = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.num_tokens = min(MAX_TOKENS, math.ceil(num_frames / 2))
        self.pool = nn.AdaptiveAvgPool1d(self.num_tokens)
        self.position = nn.Parameter(torch.randn(self.num_tokens, width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 32), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes log-mel spectrograms; how loud the recording is does not matter.

        Args:
            values: float16 (B, F, N), dB.

        Returns:
            Features of at most 64 tokens in the order of time; all real.
        """
        maps = level_and_contrast(values.to(self.position.dtype)).flatten(1, 2)  # (B, 2 F, N)
        states = functional.gelu(self.halve(functional.gelu(self.widen(maps))))
        tokens = self.pool(states).transpose(1, 2) + self.position
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return Features(self.norm(tokens), mask)
