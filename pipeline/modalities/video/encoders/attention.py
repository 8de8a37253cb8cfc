"""Attention over time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import AttentionPool, Features, TransformerBlock
from pipeline.modalities.video.encoders.frames import FrameEncoder


class VideoAttention(nn.Module):
    """Each frame becomes one token, and the tokens of a clip attend to one another.

    Args:
        frames: Sees the frames.
        width: D, channels of a token.
        layers: Number of transformer blocks.
        dropout: Inside the blocks.

    Source:
        Arnab et al. 2021, "ViViT", section 3.3, model 2 (factorised encoder), with a learned pooling of a frame's
        tokens in place of the class token.
    """

    def __init__(self, frames: FrameEncoder, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.frames = frames
        self.pool = AttentionPool(width)
        self.position = nn.Parameter(torch.randn(frames.frames, width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 32), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def fit(self, statistics: Mapping[str, object]) -> None:
        """Takes over what is known of the training set's frames."""
        self.frames.fit(statistics)

    def forward(self, values: Tensor) -> Features:
        """Encodes clips.

        Args:
            values: uint8 (B, N, H, W, 3), zeros where there is no frame.

        Returns:
            Features of a token for each frame, in the order of time.
        """
        features, real = self.frames(values)
        tokens = self.pool(features).unflatten(0, real.shape) + self.position
        for block in self.blocks:
            tokens = block(tokens, real)
        return Features(self.norm(tokens), real)
