"""Statistics of tracks, the numbers of a spectrogram's frames, over the frames that are looked at."""

from __future__ import annotations

import math

import torch
from torch import Tensor

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Of each track: mean and deviation, quantiles, deviation and mean size of the changes from frame to frame.
NUM_STATISTICS = 2 + len(QUANTILES) + 2


def time_statistics(tracks: Tensor, real: Tensor) -> Tensor:
    """Statistics of each track.

    Args:
        tracks: float (B, S, N).
        real: bool (B, N), the frames that are looked at, of which there are some.

    Returns:
        float (B, 9 S): for each statistic in turn those of all tracks.
    """
    return torch.cat([*_of_frames(tracks, real), *_of_changes(tracks, real)], dim=1)


def _of_frames(tracks: Tensor, real: Tensor) -> list[Tensor]:
    """Mean, deviation and quantiles of tracks (B, S, N) over the real frames, bool (B, N), of which there are some."""
    count = real.sum(dim=1)[:, None]  # (B, 1)
    mean, deviation = moments(tracks, real)
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
    return [moments(changes, pairs)[1], moments(changes.abs(), pairs)[0]]


def moments(tracks: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of tracks (B, S, N) over real places, bool (B, N); float (B, S), zeros where none is real."""
    weights = real[:, None].to(tracks.dtype)
    count = weights.sum(dim=2).clamp(min=1.0)
    mean = (tracks * weights).sum(dim=2) / count
    squares = ((tracks - mean[..., None]).square() * weights).sum(dim=2)
    return mean, (squares / count).sqrt()
