"""A perceptron over statistics of the tracks of a spectrogram over time."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.audio.encoders.spectrogram import is_sounding, level_below_loudest
from pipeline.modalities.codecs import dense_column
from pipeline.modalities.layers import Features, StatisticsEncoder
from pipeline.modalities.moments import Moments, RunningMoments

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Of each track: mean and deviation, quantiles, deviation and mean size of the changes from frame to frame.
NUM_STATISTICS = 2 + len(QUANTILES) + 2
BLOCK_ROWS = 64  # sounds that are taken at a time


class AudioStatistics(StatisticsEncoder):
    """Statistics over time of the mel bins and of cepstral coefficients, standardised, to one token.

    Args:
        num_mels: F.
        num_coefficients: Cepstral coefficients, at most F.
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Of the statistics, and behind each hidden layer.
    """

    cosines: Tensor

    def __init__(
        self,
        num_mels: int,
        num_coefficients: int,
        width: int,
        layers: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__(num_statistics(num_mels, num_coefficients), width, layers, hidden, dropout)
        cosines = torch.from_numpy(cosine_transform(num_mels, num_coefficients)).float()
        self.register_buffer("cosines", cosines, persistent=False)

    def forward(self, values: Tensor) -> Features:
        """Encodes log-mel spectrograms; how loud the recording is, and what is silent of it, does not matter.

        Args:
            values: float16 (B, F, N), dB.

        Returns:
            Features of one token; real.
        """
        return self.encode(sound_statistics(values.to(self.mean.dtype), self.cosines))


def num_statistics(num_mels: int, num_coefficients: int) -> int:
    """How many numbers :func:`sound_statistics` gives of a sound."""
    return NUM_STATISTICS * (num_mels + num_coefficients)


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


def sound_statistics(decibels: Tensor, cosines: Tensor) -> Tensor:
    """Statistics of the mel bins and cepstral coefficients over the frames that are not silent.

    Args:
        decibels: float (B, F, N), dB.
        cosines: float (C, F), see :func:`cosine_transform`.

    Returns:
        float (B, 9 (F + C)): for each statistic in turn those of the bins, then of the coefficients.
    """
    level = level_below_loudest(decibels)
    sounding = is_sounding(level)
    tracks = torch.cat([level, cosines @ level], dim=1)  # (B, F + C, N)
    return torch.cat([*_of_frames(tracks, sounding), *_of_changes(tracks, sounding)], dim=1)


def _of_frames(tracks: Tensor, real: Tensor) -> list[Tensor]:
    """Mean, deviation and quantiles of tracks (B, S, N) over the real frames, bool (B, N), of which there are some."""
    count = real.sum(dim=1)[:, None]  # (B, 1)
    mean, deviation = _moments(tracks, real)
    beyond = tracks.new_full((), math.inf)
    ordered = torch.where(real[:, None], tracks, beyond).sort(dim=2).values
    statistics = [mean, deviation]
    for quantile in QUANTILES:
        place = (count - 1).to(tracks.dtype) * quantile
        low = place.floor().long()
        share = place - low
        below, above = (
            ordered.gather(2, index[..., None].expand(-1, tracks.shape[1], 1))[..., 0]
            for index in (low, torch.minimum(low + 1, count - 1))
        )
        statistics.append(below + (above - below) * share)
    return statistics


def _of_changes(tracks: Tensor, real: Tensor) -> list[Tensor]:
    """Deviation and mean size of the changes between neighbouring real frames; zeros where there are none."""
    changes = tracks[..., 1:] - tracks[..., :-1]
    pairs = real[:, 1:] & real[:, :-1]
    return [_moments(changes, pairs)[1], _moments(changes.abs(), pairs)[0]]


def _moments(tracks: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    weights = real[:, None].to(tracks.dtype)
    count = weights.sum(dim=2).clamp(min=1.0)
    mean = (tracks * weights).sum(dim=2) / count
    squares = ((tracks - mean[..., None]).square() * weights).sum(dim=2)
    return mean, (squares / count).sqrt()


class TrackStatistics:
    """Collects the moments of the statistics of sounds.

    Args:
        num_mels: F.
        num_frames: N.
        num_coefficients: Cepstral coefficients.
    """

    def __init__(self, num_mels: int, num_frames: int, num_coefficients: int) -> None:
        self.shape = (num_mels, num_frames)
        self._cosines = torch.from_numpy(cosine_transform(num_mels, num_coefficients)).float()
        self._moments = RunningMoments(num_statistics(num_mels, num_coefficients))

    def add(self, column: pa.Array) -> None:
        """Adds a column of spectrograms; nulls do not count."""
        for start in range(0, len(column), BLOCK_ROWS):
            dense = dense_column(column.slice(start, BLOCK_ROWS), self.shape)
            sounds = torch.from_numpy(dense.values[dense.present]).float()
            rows = sound_statistics(sounds, self._cosines).double().numpy()
            self._moments.add(rows, np.isfinite(rows))

    def result(self) -> Moments:
        """What was found."""
        return self._moments.result()
