"""Small random changes to log-mel spectrograms while training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AudioAugmentation:
    """Shifts and partly masks each spectrogram of a batch by chance.

    No gain, since the encoder does not hear loudness; and no noise on single bins or tilt across
    them, since both cost a point of accuracy in our trials.

    Attributes:
        shift: Largest shift in time, as a share of the frames; what leaves on one side is gone.
        mask_bins: Largest share of the mel bins in each frequency mask.
        mask_frames: Largest share of the frames in each time mask.
        masks: Number of masks along each axis.

    Source:
        Park et al. 2019, "SpecAugment", section 2 (masks, without warping).
    """

    shift: float = 0.1
    mask_bins: float = 0.15
    mask_frames: float = 0.1
    masks: int = 1

    def __call__(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Changes a batch.

        Args:
            values: float16 (B, F, N), dB.
            generator: On the device of ``values``; the only source of chance.

        Returns:
            float16 (B, F, N), dB.
        """
        decibels = values.float()
        silence = decibels.amin(dim=(1, 2), keepdim=True)
        decibels = self._shift(decibels, silence, generator)
        mean = _mean_of_bins(decibels, silence)
        for _ in range(self.masks):
            decibels = _mask(decibels, 1, self.mask_bins, mean, generator)
            decibels = _mask(decibels, 2, self.mask_frames, mean, generator)
        return decibels.to(values.dtype)

    def _shift(self, decibels: Tensor, silence: Tensor, generator: torch.Generator) -> Tensor:
        size, num_mels, num_frames = decibels.shape
        reach = 2.0 * torch.rand(size, generator=generator, device=decibels.device) - 1.0
        offset = (reach * self.shift * num_frames).round().long()
        source = torch.arange(num_frames, device=decibels.device) - offset[:, None]  # (B, N)
        inside = (source >= 0) & (source < num_frames)
        index = source.clamp(0, num_frames - 1)[:, None, :].expand(-1, num_mels, -1)
        return torch.where(inside[:, None, :], decibels.gather(2, index), silence)


def _mean_of_bins(decibels: Tensor, silence: Tensor) -> Tensor:
    """Each mel bin's mean over what is not silent where the sound is, float (B, F, N)."""
    sounding = decibels > silence
    total = torch.where(sounding, decibels, 0.0).sum(dim=2, keepdim=True)
    mean = total / sounding.sum(dim=2, keepdim=True).clamp(min=1)
    return torch.where(sounding, mean, silence)


def _mask(
    decibels: Tensor, dim: int, largest: float, mean: Tensor, generator: torch.Generator
) -> Tensor:
    """Replaces one stretch along ``dim`` of each spectrogram by ``mean``."""
    extent, start = torch.rand(
        2, len(decibels), generator=generator, device=decibels.device
    ).unbind(0)
    extent = extent * largest
    start = start * (1.0 - extent)
    length = decibels.shape[dim]
    position = (torch.arange(length, device=decibels.device) + 0.5) / length
    inside = (position >= start[:, None]) & (position < (start + extent)[:, None])
    inside = inside[:, :, None] if dim == 1 else inside[:, None, :]
    return torch.where(inside, mean, decibels)
