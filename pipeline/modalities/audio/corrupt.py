"""How sounds get worse, to see how much of it a model stands: spectrograms, and waveforms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.modalities.audio.augment import add_noise
from pipeline.modalities.chance import Chance
from pipeline.modalities.facets import Corruption

RATIOS_DB = (20.0, 10.0, 0.0, -10.0)
SHARES = (0.1, 0.25, 0.5, 0.75)
RATIO, SHARE = "signal-to-noise ratio, dB", "share of the time"


def of_spectrograms() -> Mapping[str, Corruption]:
    """Noise and cut, of float16 (B, F, N), dB."""
    return {
        "noise": Corruption(RATIO, RATIOS_DB, _noisy_spectrograms),
        "cut": Corruption(SHARE, SHARES, _cut_spectrograms),
    }


def of_waveforms() -> Mapping[str, Corruption]:
    """Noise and cut, of float32 (B, T)."""
    return {
        "noise": Corruption(RATIO, RATIOS_DB, _noisy_waveforms),
        "cut": Corruption(SHARE, SHARES, _cut_waveforms),
    }


def _noisy_spectrograms(values: Tensor, ratio_db: float, chance: Chance) -> Tensor:
    """White noise; the ratio is that of the mean power of what is not silent to that of the noise."""
    decibels = values.float()
    silence = decibels.amin(dim=(1, 2), keepdim=True)
    spectrum = chance.exponential(*values.shape[1:])
    ratios = torch.full((len(values),), ratio_db)
    return add_noise(decibels, silence, spectrum, ratios).to(values.dtype)


def _cut_spectrograms(values: Tensor, share: float, chance: Chance) -> Tensor:
    """Silences a stretch of the sound, which ends with its last frame that is not silent."""
    silence = values.amin(dim=(1, 2), keepdim=True)
    inside = _stretch((values > silence).any(dim=1), share, chance)
    return torch.where(inside[:, None], silence, values)


def _noisy_waveforms(values: Tensor, ratio_db: float, chance: Chance) -> Tensor:
    count = (values != 0).sum(dim=1, keepdim=True).clamp(min=1)
    power = values.square().sum(dim=1, keepdim=True) / count
    deviation: Tensor = (power * 10.0 ** (-ratio_db / 10.0)).sqrt()
    noise = deviation * chance.normal(values.shape[1])
    return values + noise


def _cut_waveforms(values: Tensor, share: float, chance: Chance) -> Tensor:
    return values.masked_fill(_stretch(values != 0, share, chance), 0.0)


def _stretch(sounding: Tensor, share: float, chance: Chance) -> Tensor:
    """Which places lie in a stretch of so much of the time up to the last sounding place, bool (B, T)."""
    place = torch.arange(sounding.shape[1])
    length = ((place + 1) * sounding).amax(dim=1, keepdim=True)  # (B, 1)
    start = chance.uniform(1) * (1.0 - share) * length
    middle = place + 0.5
    return (middle >= start) & (middle < start + share * length)
