"""Small random changes to vectors while training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance


@dataclass(frozen=True, slots=True)
class VectorAugmentation:
    """Moves series in time, scales their channels and adds noise by chance; what is missing stays missing.

    Attributes are those of :class:`pipeline.modalities.vector.VectorAugmentConfig`; a change that is switched off draws
    no random number.

    Source:
        Um et al. 2017, "Data augmentation of wearable sensor data for Parkinson's disease monitoring", section 3
        (jittering, scaling).
    """

    noise_fraction: float = 0.0
    scale_fraction: float = 0.0
    shift_fraction: float = 0.0

    def __call__(self, values: Tensor, chance: Chance) -> Tensor:
        """Changes a batch.

        Args:
            values: float32 (B, 2, *shape): the values, and 1 where one is real.
            chance: Of the batch's samples; nothing else is drawn from.

        Returns:
            float32 (B, 2, *shape).
        """
        series = values.ndim == 4
        if series and self.shift_fraction:
            values = self._shift(values, chance)
        raw, real = values[:, 0], values[:, 1]
        if self.scale_fraction:
            # Of one channel at all steps; of features, each its own.
            shape = (1, raw.shape[2]) if series else raw.shape[1:]
            raw = raw * (1.0 + self.scale_fraction * chance.symmetric(*shape))
        if self.noise_fraction:
            noise = chance.normal(*raw.shape[1:])
            size_of_noise = _deviation(raw, real) if series else raw.abs()
            raw = raw + noise * size_of_noise * self.noise_fraction
        return torch.stack([raw * real, real], dim=1)

    def _shift(self, values: Tensor, chance: Chance) -> Tensor:
        """Moves each series by whole steps; what comes in from outside is missing."""
        _, _, num_steps, num_channels = values.shape
        offset = (chance.symmetric() * self.shift_fraction * num_steps).round().long()
        offset = offset.clamp(1 - num_steps, num_steps - 1)
        source = torch.arange(num_steps, device=values.device) - offset[:, None]  # (B, T)
        inside = (source >= 0) & (source < num_steps)
        index = source.clamp(0, num_steps - 1)[:, None, :, None].expand(-1, 2, -1, num_channels)
        moved = values.gather(2, index) * inside[:, None, :, None]
        # A short series may be moved out of sight; then it stays.
        seen = (moved[:, 1] > 0).flatten(1).any(dim=1)
        return torch.where(seen[:, None, None, None], moved, values)


def _deviation(raw: Tensor, real: Tensor) -> Tensor:
    """Of each channel of each series over its real steps: float (B, T, C) -> (B, 1, C)."""
    count = real.sum(dim=1, keepdim=True).clamp(min=1.0)
    mean = (raw * real).sum(dim=1, keepdim=True) / count
    return (((raw - mean) * real).square().sum(dim=1, keepdim=True) / count).sqrt()
