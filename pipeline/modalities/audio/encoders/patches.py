"""A transformer over patches of log-mel spectrograms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.audio.encoders.spectrogram import frames_before_end, level_and_contrast
from pipeline.modalities.layers import Features, TransformerBlock

MAX_FRAMES = 1024  # longer sounds have neighbouring frames averaged, as many as it takes


class AudioPatches(nn.Module):
    """Square patches of a spectrogram become a token each, which attend to one another.

    Args:
        num_mels: F.
        num_frames: N.
        width: D, channels of a token.
        patch: Side of a patch, in mel bins and in frames.
        stride: From one patch to the next; smaller than ``patch``, they overlap.
        layers: Number of transformer blocks.
        dropout: Inside the blocks, and before them.

    Source:
        Gong et al. 2021, "AST: Audio spectrogram transformer", section 2.1, over level and contrast in place of the
        level alone; the patches of one time are averaged where the paper has a class token.
    """

    def __init__(
        self,
        num_mels: int,
        num_frames: int,
        width: int,
        patch: int,
        stride: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.frames_averaged = math.ceil(num_frames / MAX_FRAMES)
        num_frames = math.ceil(num_frames / self.frames_averaged)
        self.rows, self.columns = (
            _num_patches(size, patch, stride) for size in (num_mels, num_frames)
        )
        # What the last patches lack of the spectrogram's edges.
        self.lacking = [
            (count - 1) * stride + patch - size
            for count, size in ((self.columns, num_frames), (self.rows, num_mels))
        ]
        self.stride = stride
        self.embed = nn.Conv2d(2, width, kernel_size=patch, stride=stride)
        self.position = nn.Parameter(torch.randn(self.rows * self.columns, width) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 32), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Features:
        """Encodes log-mel spectrograms; how loud the recording is does not matter.

        Args:
            values: float16 (B, F, N), dB.

        Returns:
            Features of one token for each column of patches, in the order of time, real up to the end of the sound.
        """
        decibels = values.to(self.position.dtype)
        maps = functional.avg_pool2d(
            level_and_contrast(decibels), (1, self.frames_averaged), ceil_mode=True
        )
        right, top = self.lacking
        patches = self.embed(functional.pad(maps, (0, right, 0, top)))  # (B, D, rows, columns)
        tokens = self.dropout(patches.flatten(2).transpose(1, 2) + self.position)
        mask = self._begins(frames_before_end(decibels))
        among = mask[:, None].expand(-1, self.rows, -1).flatten(1)
        for block in self.blocks:
            tokens = block(tokens, among)
        columns = tokens.unflatten(1, (self.rows, self.columns)).mean(dim=1)
        return Features(self.norm(columns), mask)

    def _begins(self, real: Tensor) -> Tensor:
        """Whether a column of patches begins before the end of the sound: bool (B, N) -> (B, columns)."""
        starts = torch.arange(self.columns, device=real.device) * self.stride * self.frames_averaged
        return real[:, starts]


def columns_of(num_frames: int, patch: int, stride: int) -> tuple[int, int]:
    """Frames from one column of patches to the next, and how many columns there are."""
    averaged = math.ceil(num_frames / MAX_FRAMES)
    return stride * averaged, _num_patches(math.ceil(num_frames / averaged), patch, stride)


def _num_patches(size: int, patch: int, stride: int) -> int:
    """As many as it takes to cover ``size``."""
    return 1 + math.ceil(max(0, size - patch) / stride)
