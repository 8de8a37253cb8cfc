"""What is told of a sound beside its tracks: how loud, how shaped, how it moves, how its coefficients go together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.modalities.audio.encoders.tracks import (
    NUM_STATISTICS,
    moments,
    time_statistics,
)

NUM_CEPSTRAL = 13  # coefficients whose course and correlations are told, at most
NUM_COSINES = 3  # that the course of a track is told in
ROLLOFFS = (0.25, 0.5, 0.85, 0.95)  # shares of a frame's power
NUM_LOUDNESS, NUM_SHAPE = 3, 5 + len(ROLLOFFS)  # tracks
FRAMES_PER_SECOND = 100.0  # as the codec makes them
OCTAVES, STEPS = 6, 8  # of modulations, from 0.5 to 32 Hz, and rates that an octave is looked at in
MODULATIONS_HZ = tuple(0.5 * 2 ** ((step + 0.5) / STEPS) for step in range(OCTAVES * STEPS))
LEAST_POWER = 1e-12  # of a frame, below its sound's loudest bin
LEAST_MODULATION = 1e-3  # dB ** 2


def trait_sizes(num_mels: int, num_coefficients: int) -> tuple[int, ...]:
    """How many numbers :func:`sound_traits` gives of each of its groups."""
    cepstral = min(NUM_CEPSTRAL, num_coefficients)
    return (
        NUM_STATISTICS * num_mels,
        NUM_STATISTICS * num_coefficients,
        NUM_STATISTICS * NUM_LOUDNESS,
        NUM_STATISTICS * NUM_SHAPE,
        OCTAVES + 2,
        NUM_COSINES * (cepstral + 1),
        cepstral * (cepstral - 1) // 2,
    )


def sound_traits(level: Tensor, coefficients: Tensor, sounding: Tensor) -> Tensor:
    """Statistics of a sound in groups, of which each says something else.

    All of it is products and sums, which autocast leaves in full precision, as it does not a matrix product.

    Args:
        level: float (B, F, N), dB below the loudest bin of the sound.
        coefficients: float (B, C, N), cepstral coefficients of the frames.
        sounding: bool (B, N), the frames that are looked at, of which there are some.

    Returns:
        float (B, S), the groups of :func:`trait_sizes` one after the other: statistics of the mel bins, of the
        cepstral coefficients, of the loudness, and of the spectrum's shape; rhythm; course; correlations.
    """
    cepstral = coefficients[:, :NUM_CEPSTRAL]
    power = torch.pow(10.0, level / 10.0)
    total = power.sum(dim=1).clamp(min=LEAST_POWER)
    energy = (10.0 * total.log10())[:, None]  # (B, 1, N), dB
    tracks = (
        level,
        coefficients,
        torch.cat([energy, fluxes(level)], dim=1),
        spectral_shape(level, power, total),
    )
    groups = [time_statistics(each, sounding) for each in tracks]
    groups.append(rhythm(energy[:, 0], sounding))
    groups.append(course(torch.cat([cepstral, energy], dim=1), sounding))
    groups.append(correlations(cepstral, sounding))
    return torch.cat(groups, dim=1)


def fluxes(level: Tensor) -> Tensor:
    """How much the spectrum rises from the frame before, and how much it changes: float (B, 2, N), dB.

    The mean of the bins' rises, and the root of the mean of the squares of their changes; 0 in the first frame.

    Source:
        Dixon 2006, "Onset detection revisited", section 2.1 (spectral flux, of rises alone), of levels.
    """
    changes = torch.nn.functional.pad(level[..., 1:] - level[..., :-1], (1, 0))
    return torch.stack([changes.clamp(min=0).mean(dim=1), changes.square().mean(dim=1).sqrt()], 1)


def spectral_shape(level: Tensor, power: Tensor, total: Tensor) -> Tensor:
    """How the power of a frame is spread over the bins, float (B, 5 + R, N).

    Args:
        level: float (B, F, N), dB.
        power: The same, as power.
        total: float (B, N), its sum.

    Returns:
        Centroid and spread of the power, as shares of the bins; the share of the bins below which R shares of the
        power lie; the slope of the level, in dB over all bins; its flatness, in dB; and by how much
        the lowest third of the bins is louder than the highest, in dB.

    Source:
        Peeters 2004, "A large set of audio features for sound description", section 6.1 (centroid, spread, slope,
        roll-off) and 9.1 (flatness), over mel bins.
    """
    num_mels = level.shape[1]
    place = torch.arange(num_mels, dtype=level.dtype, device=level.device)[:, None] / num_mels
    share = power / total[:, None]
    centroid = (share * place).sum(dim=1)
    spread = (share * (place - centroid[:, None]).square()).sum(dim=1).sqrt()
    below = share.cumsum(dim=1)
    rolloffs = [(below < part).to(level.dtype).mean(dim=1) for part in ROLLOFFS]
    distance = place - place.mean()
    slope = (level * distance).sum(dim=1) / distance.square().sum()
    flatness = level.mean(dim=1) - 10.0 * (total / num_mels).log10()
    third = max(1, num_mels // 3)
    low, high = (
        10.0 * part.sum(dim=1).clamp(min=LEAST_POWER).log10()
        for part in (power[:, :third], power[:, -third:])
    )
    return torch.stack([centroid, spread, *rolloffs, slope, flatness, low - high], dim=1)


def rhythm(energy: Tensor, sounding: Tensor) -> Tensor:
    """How fast a sound grows louder and quieter, how long it is, and how much of it is pause.

    Args:
        energy: float (B, N), dB.
        sounding: bool (B, N).

    Returns:
        float (B, OCTAVES + 2): logarithms of the mean power of the modulations of each octave, and of the number of
        sounding frames; and the share of the frames between the first and the last of them that are silent.

    Source:
        Houtgast & Steeneken 1985, "A review of the MTF concept in room acoustics and its use for estimating speech
        intelligibility in auditoria": the spectrum of the envelope, 0.5 to 32 Hz, in octaves.
    """
    real = sounding.to(energy.dtype)
    count = real.sum(dim=1, keepdim=True).clamp(min=1.0)
    mean = (energy * real).sum(dim=1, keepdim=True) / count
    envelope = (energy - mean) * real
    time = torch.arange(energy.shape[1], dtype=energy.dtype, device=energy.device)
    rates = energy.new_tensor(MODULATIONS_HZ)[:, None] * (2 * math.pi / FRAMES_PER_SECOND)
    waves = torch.cat([torch.cos(rates * time), torch.sin(rates * time)])  # (2 R, N)
    parts = (envelope[:, None] * waves).sum(dim=2).reshape(-1, 2, OCTAVES, STEPS)
    power = parts.square().sum(dim=1).mean(dim=2)  # (B, OCTAVES)
    modulation = (power / count + LEAST_MODULATION).log()
    inside = (real.cumsum(dim=1) > 0) & (real.flip(1).cumsum(dim=1).flip(1) > 0)
    length = inside.to(energy.dtype).sum(dim=1, keepdim=True).clamp(min=1.0)
    return torch.cat([modulation, count.log(), 1.0 - count / length], dim=1)


def course(tracks: Tensor, sounding: Tensor) -> Tensor:
    """The first cosines of tracks over the sounding frames: whether they rise, sag, and so on.

    Args:
        tracks: float (B, S, N).
        sounding: bool (B, N).

    Returns:
        float (B, NUM_COSINES * S): for each cosine in turn, those of all tracks.

    Source:
        Ahmed, Natarajan & Rao 1974, "Discrete cosine transform", without the mean, and divided by the frames.
    """
    real = sounding.to(tracks.dtype)
    count = real.sum(dim=1, keepdim=True).clamp(min=1.0)
    turn = (real.cumsum(dim=1) - 0.5) / count * math.pi
    order = torch.arange(1, NUM_COSINES + 1, device=tracks.device)[:, None, None]
    waves = torch.cos(order * turn) * real / count  # (NUM_COSINES, B, N)
    distance = tracks - moments(tracks, sounding)[0][..., None]
    return torch.cat([(wave[:, None] * distance).sum(dim=2) for wave in waves], dim=1)


def correlations(tracks: Tensor, sounding: Tensor) -> Tensor:
    """Correlations of every two of S tracks over the sounding frames; 0 of one that stands still.

    Args:
        tracks: float (B, S, N).
        sounding: bool (B, N).

    Returns:
        float (B, S (S - 1) / 2): of the first with all behind it, then of the second, and so on.
    """
    mean, deviation = moments(tracks, sounding)
    real = sounding[:, None].to(tracks.dtype)
    distance = (tracks - mean[..., None]) * real / deviation.clamp(min=1e-4)[..., None]
    rows, columns = torch.triu_indices(tracks.shape[1], tracks.shape[1], 1, device=tracks.device)
    together = (distance[:, rows] * distance[:, columns]).sum(dim=2)
    return together / real.sum(dim=2).clamp(min=1.0)
