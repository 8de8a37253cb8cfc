"""An image network over the frames of clips, and which frames it sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, cast

import pyarrow as pa
import torch
from torch import Tensor, nn

from pipeline.modalities.codecs import dense_column
from pipeline.modalities.facets import Fitted, TrainingStatistics
from pipeline.modalities.layers import Features

MIDDLE = 0.5  # of a stretch, where nothing is drawn


class ClipFeatures(NamedTuple):
    """What an image network makes of the frames of clips.

    Attributes:
        frames: Of each frame of all clips, one after the other: tokens (B * T, L, D) and their mask (B * T, L).
        real: bool (B, T), True where there is a frame.
    """

    frames: Features
    real: Tensor


class FrameEncoder(nn.Module):
    """Sees every frame by itself.

    Args:
        network: Encodes uint8 (B, H, W, 3) to Features.
        frames: T, that are seen of a clip; of more, the middle one of each of T stretches.
    """

    def __init__(self, network: nn.Module, frames: int) -> None:
        super().__init__()
        self.network = network
        self.frames = frames

    def fit(self, statistics: Mapping[str, object]) -> None:
        """Takes over what :class:`FrameStatistics` has found of the training set's frames."""
        cast(Fitted, self.network).fit(statistics)

    def forward(self, values: Tensor) -> ClipFeatures:
        """Encodes frames.

        Args:
            values: uint8 (B, N, H, W, 3), zeros where there is no frame; N is T, or a multiple of it.
        """
        values = as_many(values, self.frames)
        return ClipFeatures(self.network(values.flatten(0, 1)), are_there(values))


def are_there(values: Tensor) -> Tensor:
    """Which of uint8 (..., H, W, 3) frames are there: not zeros alone; bool (...)."""
    return values.flatten(-3).any(dim=-1).bool()  # any() of uint8 is uint8


def as_many(values: Tensor, num_frames: int) -> Tensor:
    """The middle one of each stretch of frames, where there are more than ``num_frames``.

    Args:
        values: uint8 (B, N, H, W, 3), N a multiple of T.
        num_frames: T.

    Returns:
        uint8 (B, T, H, W, 3).
    """
    if values.shape[1] == num_frames:
        return values
    draws = torch.full((len(values), num_frames), MIDDLE, device=values.device)
    return choose(values, num_frames, draws)


def choose(values: Tensor, num_frames: int, draws: Tensor) -> Tensor:
    """One frame of each stretch, of those that are there.

    Args:
        values: uint8 (B, T * k, H, W, 3).
        num_frames: T.
        draws: float (B, T) in [0, 1): which, as a share of those of the stretch that are there.

    Returns:
        uint8 (B, T, H, W, 3); zeros where a stretch has none.
    """
    stretches = values.reshape(len(values), num_frames, -1, *values.shape[2:])
    real = are_there(stretches)  # (B, T, k)
    count = real.sum(dim=2)
    rank = torch.minimum((draws * count).long(), count - 1).clamp(min=0) + 1
    is_chosen = real & (real.cumsum(dim=2) == rank[..., None])
    place = is_chosen.to(torch.uint8).argmax(dim=2)
    index = place[..., None, None, None, None].expand(-1, -1, 1, *values.shape[2:])
    chosen: Tensor = stretches.gather(2, index).squeeze(2)
    return chosen


class FrameStatistics:
    """Collects what a network of images needs to know of frames.

    Args:
        of_images: Takes columns of images.
        shape: Of a frame: height, width, channels.
    """

    def __init__(self, of_images: TrainingStatistics, shape: tuple[int, int, int]) -> None:
        self._of_images, self._shape = of_images, shape

    def add(self, column: pa.Array) -> None:
        """Adds a column of clips, those of their frames that are there; nulls do not count."""
        size = math.prod(self._shape)
        clips = dense_column(column, (column.type.list_size // size, *self._shape))
        frames = torch.from_numpy(clips.values[clips.present]).flatten(0, 1)
        real = frames[are_there(frames)]
        pixels = pa.array(real.reshape(-1).numpy())
        self._of_images.add(pa.FixedSizeListArray.from_arrays(pixels, size))

    def result(self) -> Mapping[str, object]:
        """What was found."""
        return self._of_images.result()
