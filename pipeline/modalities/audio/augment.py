"""Small random changes to log-mel spectrograms, and to waveforms, while training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance


@dataclass(frozen=True, slots=True)
class AudioAugmentation:
    """Shifts, partly masks and, where asked for, adds noise to each spectrogram of a batch by chance.

    No gain, since the encoder does not hear loudness; and no tilt across the bins, which cost a point of accuracy in
    our trials, as noise on single bins did, so that noise is off unless asked for. Attributes are those of
    :class:`pipeline.modalities.audio.AudioAugmentConfig`; noise that is switched off draws no random number.

    Source:
        Park et al. 2019, "SpecAugment", section 2 (masks, without warping).
    """

    shift_fraction: float = 0.1
    mask_bins_fraction: float = 0.15
    mask_frames_fraction: float = 0.1
    num_masks: int = 1
    noise_probability: float = 0.0
    noise_min_snr_db: float = 5.0
    noise_max_snr_db: float = 30.0

    def __call__(self, values: Tensor, chance: Chance) -> Tensor:
        """Changes a batch.

        Args:
            values: float16 (B, F, N), dB.
            chance: Of the batch's samples; nothing else is drawn from.

        Returns:
            float16 (B, F, N), dB.
        """
        decibels = values.float()
        silence = decibels.amin(dim=(1, 2), keepdim=True)
        decibels = self._shift(decibels, silence, chance)
        if self.noise_probability:
            decibels = self._add_noise(decibels, silence, chance)
        mean = _mean_of_bins(decibels, silence)
        for _ in range(self.num_masks):
            decibels = _mask(decibels, 1, self.mask_bins_fraction, mean, chance)
            decibels = _mask(decibels, 2, self.mask_frames_fraction, mean, chance)
        return decibels.to(values.dtype)

    def _shift(self, decibels: Tensor, silence: Tensor, chance: Chance) -> Tensor:
        _, num_mels, num_frames = decibels.shape
        offset = (chance.symmetric() * self.shift_fraction * num_frames).round().long()
        source = torch.arange(num_frames, device=decibels.device) - offset[:, None]  # (B, N)
        inside = (source >= 0) & (source < num_frames)
        index = source.clamp(0, num_frames - 1)[:, None, :].expand(-1, num_mels, -1)
        return torch.where(inside[:, None, :], decibels.gather(2, index), silence)

    def _add_noise(self, decibels: Tensor, silence: Tensor, chance: Chance) -> Tensor:
        draw, place = chance.uniform(2).unbind(1)
        span = self.noise_max_snr_db - self.noise_min_snr_db
        ratio = self.noise_min_snr_db + place * span
        spectrum = chance.exponential(*decibels.shape[1:])
        noisy = add_noise(decibels, silence, spectrum, ratio)
        return torch.where((draw < self.noise_probability)[:, None, None], noisy, decibels)


@dataclass(frozen=True, slots=True)
class WaveformAugmentation:
    """Shifts, partly silences and, where asked for, adds noise to each waveform of a batch by chance.

    For encoders that make features of their own. Attributes are those of :class:`AudioAugmentation`, but for the mask
    of mel bins.
    """

    shift_fraction: float = 0.1
    mask_frames_fraction: float = 0.1
    num_masks: int = 1
    noise_probability: float = 0.0
    noise_min_snr_db: float = 5.0
    noise_max_snr_db: float = 30.0

    def __call__(self, values: Tensor, chance: Chance) -> Tensor:
        """Changes a batch.

        Args:
            values: float32 (B, T).
            chance: Of the batch's samples; nothing else is drawn from.

        Returns:
            float32 (B, T).
        """
        length = values.shape[1]
        offset = (chance.symmetric() * self.shift_fraction * length).round().long()
        source = torch.arange(length, device=values.device) - offset[:, None]  # (B, T)
        inside = (source >= 0) & (source < length)
        sounds = torch.where(inside, values.gather(1, source.clamp(0, length - 1)), 0.0)
        if self.noise_probability:
            sounds = self._add_noise(sounds, chance)
        silence = torch.zeros_like(sounds[:, None])
        for _ in range(self.num_masks):
            sounds = _mask(sounds[:, None], 2, self.mask_frames_fraction, silence, chance)[:, 0]
        return sounds

    def _add_noise(self, sounds: Tensor, chance: Chance) -> Tensor:
        """White noise, at a given ratio to the mean power of what is not silent, over all of the sound."""
        draw, place = chance.uniform(2).unbind(1)
        ratio_db = self.noise_min_snr_db + place * (self.noise_max_snr_db - self.noise_min_snr_db)
        count = (sounds != 0).sum(dim=1).clamp(min=1)
        power = sounds.square().sum(dim=1) / count * torch.pow(10.0, -ratio_db / 10.0)
        noisy = sounds + power.sqrt()[:, None] * chance.normal(sounds.shape[1])
        return torch.where((draw < self.noise_probability)[:, None], noisy, sounds)


def add_noise(decibels: Tensor, silence: Tensor, spectrum: Tensor, ratio_db: Tensor) -> Tensor:
    """Adds the power of noise to a sound's, at a given ratio of the two in dB.

    The mel filters have unit area, so that white noise has the same mean power in every bin; the power of a bin of its
    spectrum is exponentially distributed.

    Args:
        decibels: float (B, F, N), dB.
        silence: float (B, 1, 1), the sound's floor in dB; a frame that is nowhere above it does not count as sound.
        spectrum: float (B, F, N), power of the noise up to a factor.
        ratio_db: float (B,), mean power of the sounding frames over mean power of the noise, in dB.

    Returns:
        float (B, F, N), dB. What has no sounding frame stays as it is.
    """
    power = torch.pow(10.0, decibels / 10.0)
    sounding = (decibels > silence).any(dim=1, keepdim=True).float()  # (B, 1, N)
    frames = sounding.sum(dim=2, keepdim=True) * decibels.shape[1]
    mean = (power * sounding).sum(dim=(1, 2), keepdim=True) / frames.clamp(min=1.0)
    noise_power = mean * torch.pow(10.0, -ratio_db / 10.0)[:, None, None]
    noise = spectrum * (noise_power / spectrum.mean(dim=(1, 2), keepdim=True))
    return torch.where(frames > 0, 10.0 * torch.log10(power + noise), decibels)


def _mean_of_bins(decibels: Tensor, silence: Tensor) -> Tensor:
    """Each mel bin's mean over what is not silent where the sound is, float (B, F, N)."""
    sounding = decibels > silence
    total = torch.where(sounding, decibels, 0.0).sum(dim=2, keepdim=True)
    mean = total / sounding.sum(dim=2, keepdim=True).clamp(min=1)
    return torch.where(sounding, mean, silence)


def _mask(decibels: Tensor, dim: int, largest: float, mean: Tensor, chance: Chance) -> Tensor:
    """Replaces one stretch along ``dim`` of each spectrogram by ``mean``."""
    extent, start = chance.uniform(2).unbind(1)
    extent = extent * largest
    start = start * (1.0 - extent)
    length = decibels.shape[dim]
    position = (torch.arange(length, device=decibels.device) + 0.5) / length
    inside = (position >= start[:, None]) & (position < (start + extent)[:, None])
    inside = inside[:, :, None] if dim == 1 else inside[:, None, :]
    return torch.where(inside, mean, decibels)
