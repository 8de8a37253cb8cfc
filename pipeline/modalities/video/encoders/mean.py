"""The mean over time."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pipeline.modalities.layers import Features
from pipeline.modalities.video.encoders.frames import FrameEncoder


class VideoMean(nn.Module):
    """What an image network makes of the frames, each of its tokens averaged over the frames that are there.

    Args:
        frames: Sees the frames.
        width: D, channels of a token.

    Source:
        Wang et al. 2016, "Temporal segment networks", equation 1, with the mean as the consensus, of features.
    """

    def __init__(self, frames: FrameEncoder, width: int) -> None:
        super().__init__()
        self.frames = frames
        self.norm = nn.LayerNorm(width)

    def fit(self, statistics: Mapping[str, object]) -> None:
        """Takes over what is known of the training set's frames."""
        self.frames.fit(statistics)

    def forward(self, values: Tensor) -> Features:
        """Encodes clips.

        Args:
            values: uint8 (B, N, H, W, 3), zeros where there is no frame.

        Returns:
            Features of as many tokens as a frame has; real where they are of any frame.
        """
        features, real = self.frames(values)
        mask = features.mask.unflatten(0, real.shape) & real[..., None]  # (B, T, L)
        tokens = Features(features.tokens.unflatten(0, real.shape), mask).clean()
        count = mask.sum(dim=1).clamp(min=1)
        return Features(self.norm(tokens.sum(dim=1) / count[..., None]), mask.any(dim=1))
