"""Log-mel spectrograms -> magnitudes of the linear spectrum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pipeline.modalities.audio.mel import mel_filters

STEPS = 64  # of the multiplicative updates; the residual falls little beyond
LEAST = 1e-8  # share of a sound's highest power that no frequency begins below: updates do not leave zero


def magnitudes(decibels: Tensor, sample_rate_hz: int, window: int, steps: int = STEPS) -> Tensor:
    """The magnitudes whose power, filtered, is nearest to that of the spectrograms; none is below zero.

    Non-negative least squares, begun at the pseudo-inverse's answer.

    Args:
        decibels: float32 (B, F, N), dB.
        sample_rate_hz: Rate of the sounds.
        window: Length of the FFT, in samples.
        steps: Of the updates.

    Returns:
        float32 (B, window // 2 + 1, N).

    Source:
        Lee & Seung 2001, "Algorithms for non-negative matrix factorization", theorem 1, with W given.
    """
    batch, num_mels, num_frames = decibels.shape
    filters, inverse = (
        torch.from_numpy(matrix).to(decibels.device)
        for matrix in _matrices(sample_rate_hz, window, num_mels)
    )
    power = torch.pow(10.0, decibels.float() / 10.0)
    # Powers near 1, whatever the loudness: squares of very small ones are no float32.
    loudest = power.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    mel = power / loudest
    spectrum = torch.clamp(inverse @ mel, min=LEAST)
    against, through = filters.T @ mel, filters.T @ filters
    for _ in range(steps):
        spectrum = spectrum * against / (through @ spectrum).clamp(min=1e-20)
    spectra = torch.sqrt(spectrum * loudest)
    return spectra.view(batch, window // 2 + 1, num_frames)


@lru_cache(maxsize=8)
def _matrices(sample_rate_hz: int, window: int, num_mels: int) -> tuple[np.ndarray, np.ndarray]:
    """The filters, (F, window // 2 + 1) float32, and their pseudo-inverse."""
    filters = mel_filters(sample_rate_hz, window, num_mels)
    return filters.copy(), np.linalg.pinv(filters.astype(np.float64)).astype(np.float32)
