"""A perceptron over statistics of a spectrogram over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.audio.encoders.spectrogram import is_sounding, level_below_loudest
from pipeline.modalities.audio.encoders.tracks import NUM_STATISTICS, time_statistics
from pipeline.modalities.audio.encoders.traits import sound_traits, trait_sizes
from pipeline.modalities.codecs import dense_column
from pipeline.modalities.layers import Features, StatisticsEncoder, alike
from pipeline.modalities.moments import Moments, RunningMoments

Told = Literal["tracks", "traits"]
BLOCK_ROWS = 64  # sounds that are taken at a time


@dataclass(frozen=True)
class Description:
    """What is told of sounds.

    Attributes:
        of: float (B, F, N), dB below the loudest bin, float (B, C, N), cepstral coefficients, and bool (B, N), frames
            that are not silent -> float (B, S).
        sizes: Of F and C: of its groups of numbers, which count alike however many numbers each has; S together.
        small_start: See :class:`StatisticsEncoder`.
    """

    of: Callable[[Tensor, Tensor, Tensor], Tensor]
    sizes: Callable[[int, int], Sequence[int]]
    small_start: bool = False


def _track_statistics(level: Tensor, coefficients: Tensor, sounding: Tensor) -> Tensor:
    """Statistics of the mel bins and of the cepstral coefficients, float (B, 9 (F + C)): for each in turn of both."""
    return time_statistics(torch.cat([level, coefficients], dim=1), sounding)


DESCRIPTIONS: Mapping[Told, Description] = {
    "tracks": Description(
        _track_statistics,
        lambda num_mels, num_coefficients: (NUM_STATISTICS * (num_mels + num_coefficients),),
    ),
    "traits": Description(sound_traits, trait_sizes, small_start=True),
}


class AudioStatistics(StatisticsEncoder):
    """A description of a sound, standardised, to one token.

    Args:
        told: Which description.
        num_mels: F.
        num_coefficients: Cepstral coefficients, at most F.
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Of the statistics, and behind each hidden layer.
    """

    cosines: Tensor
    weight: Tensor

    def __init__(
        self,
        told: Told,
        num_mels: int,
        num_coefficients: int,
        width: int,
        layers: int,
        hidden: int,
        dropout: float,
    ) -> None:
        description = DESCRIPTIONS[told]
        sizes = description.sizes(num_mels, num_coefficients)
        super().__init__(
            sum(sizes), width, layers, hidden, dropout, small_start=description.small_start
        )
        self.told: Told = told
        cosines = torch.from_numpy(cosine_transform(num_mels, num_coefficients)).float()
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("weight", alike(sizes), persistent=False)

    def forward(self, values: Tensor) -> Features:
        """Encodes log-mel spectrograms; how loud the recording is, and what is silent of it, does not matter.

        Args:
            values: float16 (B, F, N), dB.

        Returns:
            Features of one token; real.
        """
        statistics = sound_statistics(values.to(self.mean.dtype), self.cosines, self.told)
        return self.encode(statistics, self.weight)


def cosine_transform(num_mels: int, num_coefficients: int) -> np.ndarray:
    """The orthonormal discrete cosine transform of type II, (C, F) float64: mel bins to cepstral coefficients.

    Source:
        Davis & Mermelstein 1980, "Comparison of parametric representations for monosyllabic word recognition", the
        mel-frequency cepstrum; scaled as ``scipy.fft.dct(..., norm="ortho")``.
    """
    bins, order = np.arange(num_mels), np.arange(num_coefficients)[:, None]
    scale = np.where(order == 0, math.sqrt(1 / num_mels), math.sqrt(2 / num_mels))
    cosines: np.ndarray = scale * np.cos(math.pi * order * (2 * bins + 1) / (2 * num_mels))
    return cosines


def sound_statistics(decibels: Tensor, cosines: Tensor, told: Told = "tracks") -> Tensor:
    """What is told of sounds, by the frames that are not silent.

    Args:
        decibels: float (B, F, N), dB.
        cosines: float (C, F), see :func:`cosine_transform`.
        told: Which description.

    Returns:
        float (B, S).
    """
    level = level_below_loudest(decibels)
    return DESCRIPTIONS[told].of(level, cosines @ level, is_sounding(level))


class SoundStatistics:
    """Collects the moments of the statistics of sounds.

    Args:
        told: Which description.
        num_mels: F.
        num_frames: N.
        num_coefficients: Cepstral coefficients.
    """

    def __init__(self, told: Told, num_mels: int, num_frames: int, num_coefficients: int) -> None:
        self.shape = (num_mels, num_frames)
        self._told: Told = told
        self._cosines = torch.from_numpy(cosine_transform(num_mels, num_coefficients)).float()
        self._moments = RunningMoments(sum(DESCRIPTIONS[told].sizes(num_mels, num_coefficients)))

    def add(self, column: pa.Array) -> None:
        """Adds a column of spectrograms; nulls do not count."""
        for start in range(0, len(column), BLOCK_ROWS):
            dense = dense_column(column.slice(start, BLOCK_ROWS), self.shape)
            sounds = torch.from_numpy(dense.values[dense.present]).float()
            rows = sound_statistics(sounds, self._cosines, self._told).double().numpy()
            self._moments.add(rows, np.isfinite(rows))

    def result(self) -> Moments:
        """What was found."""
        return self._moments.result()
