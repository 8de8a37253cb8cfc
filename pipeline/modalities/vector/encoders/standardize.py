"""What all encoders of vectors begin with: values in deviations from the training set's mean, and which are real."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.modalities.moments import Moments

# An outlier counts as so many deviations, so that none makes a network overflow.
MOST_DEVIATIONS = 100.0


class Steps(NamedTuple):
    """A batch of vectors as series; features (L,) are L steps of one channel.

    Attributes:
        inputs: float (B, 2 C, T): the standardised values, zeros where missing, then 1 where a value is real.
        mask: bool (B, T), True where a step has a real value.
    """

    inputs: Tensor
    mask: Tensor


class Standardize(nn.Module):
    """Takes the training set's mean away and divides by its deviation, which travel with the weights.

    Args:
        shape: (L,) or (T, C), of a vector.
        fill: A missing value is taken to be the mean, rather than told to be missing, where its step has any value.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], *, fill: bool = False) -> None:
        super().__init__()
        self.num_steps, self.num_channels = shape if len(shape) == 2 else (shape[0], 1)
        self.fill = fill
        self.features = len(shape) == 1
        # Of each feature, or of each channel over all steps.
        size = (self.num_steps, 1) if self.features else (1, self.num_channels)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit(self, moments: Moments) -> None:
        """Takes over what training has found out about the values."""
        for buffer, values in (
            (self.mean, moments["mean"]),
            (self.deviation, moments["deviation"]),
        ):
            buffer.copy_(torch.tensor(values, dtype=torch.float64).reshape(buffer.shape))

    def forward(self, values: Tensor) -> Steps:
        """Standardises a batch.

        Args:
            values: float32 (B, 2, *shape): the values, and 1 where one is real.
        """
        both = values.reshape(len(values), 2, self.num_steps, self.num_channels)
        raw, real = both[:, 0], both[:, 1] > 0
        # Halves, since the difference of two large numbers may not fit.
        distance = (raw / 2 - self.mean / 2) / self.deviation * 2
        distance = distance.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        distance = torch.where(real, distance, distance.new_zeros(()))
        mask = real.any(dim=2)
        if self.fill:
            has_value = mask.any(dim=1, keepdim=True).expand_as(mask) if self.features else mask
            real = has_value[..., None].expand_as(real)
            mask = has_value
        inputs = torch.cat([distance, real.to(distance.dtype)], dim=2)
        return Steps(inputs.transpose(1, 2), mask)
