"""Log-mel spectrograms -> waveforms: the way back from :mod:`pipeline.modalities.audio.mel`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.modalities.audio.griffin_lim.frames import Frames
from pipeline.modalities.audio.griffin_lim.spectrum import magnitudes
from pipeline.modalities.chance import Chance

ITERATIONS = 32
MOMENTUM = 0.99  # of Perraudin et al., beyond which they find nothing better


@torch.no_grad()
def griffin_lim(
    decibels: Tensor,
    *,
    sample_rate_hz: int,
    num_samples: int,
    window: int,
    hop: int,
    iterations: int = ITERATIONS,
    momentum: float = MOMENTUM,
    chance: Chance | None = None,
) -> Tensor:
    """Makes sounds whose log-mel spectrograms are near given ones.

    Args:
        decibels: float32 (B, F, N), dB, as :class:`pipeline.modalities.audio.mel.LogMel` makes them.
        sample_rate_hz: Rate of the sounds.
        num_samples: T, of each sound.
        window: Length of the window and of the FFT, in samples.
        hop: Samples between frames.
        iterations: From spectrum to sound and back.
        momentum: See :func:`with_phases`.
        chance: What the first phases are drawn from, a row for each sound; None begins with zeros.

    Returns:
        float32 (B, T). The same sound whatever else is in the batch, up to rounding.
    """
    spectra = magnitudes(decibels, sample_rate_hz, window)
    phases = None
    if chance is not None:
        phases = 2.0 * math.pi * chance.uniform(*spectra.shape[1:])
    frames = Frames(window, hop, decibels.shape[2], num_samples, decibels.device)
    return with_phases(spectra, frames, iterations, momentum, phases)


@torch.no_grad()
def with_phases(
    spectra: Tensor,
    frames: Frames,
    iterations: int,
    momentum: float = MOMENTUM,
    phases: Tensor | None = None,
) -> Tensor:
    """Makes sounds of given magnitudes, whose phases it looks for.

    Args:
        spectra: float32 (B, window // 2 + 1, N), magnitudes of the frames.
        frames: How sounds are cut into frames.
        iterations: From spectrum to sound and back.
        momentum: How far each step goes on in the direction of the last; 0 is the method as first published.
        phases: Where to begin, float32 (B, window // 2 + 1, N), radians; None for zeros.

    Returns:
        float32 (B, T).

    Source:
        Griffin & Lim 1984, "Signal estimation from modified short-time Fourier transform", section III; with momentum,
        Perraudin, Balazs, Søndergaard 2013, "A fast Griffin-Lim algorithm", algorithm 2, written as
        ``librosa.griffinlim`` writes it: of t_n = P(c_(n-1)), the next phases are those of
        t_n - momentum / (1 + momentum) t_(n-1).
    """
    smallest = torch.finfo(spectra.dtype).tiny
    zeros = torch.zeros_like(spectra) if phases is None else phases
    estimate = torch.polar(spectra, zeros)
    last = torch.zeros_like(estimate)
    for _ in range(iterations):
        rebuilt = frames.cut(frames.join(estimate))
        ahead = rebuilt - (momentum / (1.0 + momentum)) * last
        estimate = ahead / (ahead.abs() + smallest) * spectra
        last = rebuilt
    return frames.join(estimate)
