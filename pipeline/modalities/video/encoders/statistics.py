"""A perceptron over what is told of a clip without anything learned."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.codecs import dense_column
from pipeline.modalities.image.encoders.grid import as_unit_range
from pipeline.modalities.image.encoders.statistics import DESCRIPTIONS, Description, Told
from pipeline.modalities.layers import Features, StatisticsEncoder, alike
from pipeline.modalities.moments import Moments, RunningMoments
from pipeline.modalities.video.encoders.frames import are_there, as_many

NUM_COSINES = 2  # that the course of a number over the frames is told in
OVER_TIME = 2 + NUM_COSINES  # numbers that are told of each number of the frames
BLOCK_ROWS = 8  # clips that are taken at a time


class VideoStatistics(StatisticsEncoder):
    """What is told of a clip's frames, and how it changes from frame to frame, standardised, to one token.

    Args:
        told: What is told of a frame.
        frames: T, that are seen of a clip; see :class:`pipeline.modalities.video.encoders.frames.FrameEncoder`.
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Of the statistics, and behind each hidden layer.
    """

    weight: Tensor

    def __init__(
        self, told: Told, frames: int, width: int, layers: int, hidden: int, dropout: float
    ) -> None:
        description = DESCRIPTIONS[told]
        sizes = list(description.sizes) * OVER_TIME
        super().__init__(
            sum(sizes),
            width,
            layers,
            hidden,
            dropout,
            description.least_deviation,
            small_start=description.small_start,
        )
        self.description, self.frames = description, frames
        self.register_buffer("weight", alike(sizes), persistent=False)

    def forward(self, values: Tensor) -> Features:
        """Encodes clips.

        Args:
            values: uint8 (B, N, H, W, 3), zeros where there is no frame; N is T, or a multiple of it.

        Returns:
            Features of one token; real.
        """
        clips = as_many(values, self.frames)
        return self.encode(clip_statistics(clips, self.description, self.mean.dtype), self.weight)


def clip_statistics(values: Tensor, description: Description, dtype: torch.dtype) -> Tensor:
    """What is told of clips, over the frames that are there.

    Args:
        values: uint8 (B, T, H, W, 3), zeros where there is no frame.
        description: What is told of a frame, S numbers.
        dtype: Of the numbers.

    Returns:
        float (B, 4 S): of each number of the frames its mean; the mean size of its changes from one frame to the next;
        and for each of two cosines how far it follows it, which tells a rise from a fall. Zeros where there is nothing.

    Source:
        Ahmed, Natarajan & Rao 1974, "Discrete cosine transform", of the second and third order, over the frames.
    """
    real = are_there(values)  # (B, T)
    frames = as_unit_range(values.flatten(0, 1), dtype)
    told = description.of(frames).reshape(*real.shape, description.size)  # (B, T, S)
    shown = real.to(dtype)
    told = torch.where(real[..., None], told, told.new_zeros(()))
    count = shown.sum(dim=1, keepdim=True).clamp(min=1.0)
    mean = told.sum(dim=1) / count
    both = shown[:, 1:] * shown[:, :-1]
    changes = ((told[:, 1:] - told[:, :-1]).abs() * both[..., None]).sum(dim=1)
    changes = changes / both.sum(dim=1, keepdim=True).clamp(min=1.0)
    turn = (shown.cumsum(dim=1) - 0.5) / count * math.pi
    order = torch.arange(1, NUM_COSINES + 1, device=values.device)[:, None, None]
    waves = torch.cos(order * turn) * shown / count  # (NUM_COSINES, B, T)
    # Products and sums, which autocast leaves in full precision, as it does not a matrix product.
    course = [(wave[..., None] * (told - mean[:, None])).sum(dim=1) for wave in waves]
    return torch.cat([mean, changes, *course], dim=1)


class ClipStatistics:
    """Collects the moments of the statistics of clips.

    Args:
        told: What is told of a frame.
        frames: T, that are seen of a clip.
        size: Height and width of the frames, pixels.
    """

    def __init__(self, told: Told, frames: int, size: int) -> None:
        self._description, self._frames = DESCRIPTIONS[told], frames
        self._shape = (size, size, 3)
        self._moments = RunningMoments(OVER_TIME * self._description.size)

    def add(self, column: pa.Array) -> None:
        """Adds a column of clips; nulls do not count."""
        decoded = column.type.list_size // math.prod(self._shape)
        for start in range(0, len(column), BLOCK_ROWS):
            dense = dense_column(column.slice(start, BLOCK_ROWS), (decoded, *self._shape))
            clips = as_many(torch.from_numpy(dense.values[dense.present]), self._frames)
            rows = clip_statistics(clips, self._description, torch.float32).double().numpy()
            self._moments.add(rows, np.isfinite(rows))

    def result(self) -> Moments:
        """What was found."""
        return self._moments.result()
