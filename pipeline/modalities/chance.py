"""Chance that belongs to a sample: the same numbers whichever batch or worker the sample is in."""

from __future__ import annotations

import math
from hashlib import blake2b

import torch
from torch import Tensor

CHANCE = "chance"  # in a batch: int64 (B,), what each sample's chance in this epoch is drawn from
# Of SplitMix64, as signed numbers of 64 bits, which torch has; products wrap around.
INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)
FIRST_FACTOR = 0xBF58476D1CE4E5B9 - (1 << 64)
SECOND_FACTOR = 0x94D049BB133111EB - (1 << 64)
FRACTION_BITS = 24  # of a float32


class Chance:
    """Random numbers, a row for each sample, drawn from the sample's own seed and nothing else.

    Draws follow each other: a second call gives other numbers. What is drawn for one purpose does not move what is
    drawn for another where each takes a stream of its own, see :meth:`stream`.

    Args:
        seeds: int64 (B,), one for each sample.

    Source:
        Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 19 (SplitMix64, whose n-th
        number is a function of seed and n).
    """

    def __init__(self, seeds: Tensor) -> None:
        self.seeds = seeds
        self._drawn = 0

    def __len__(self) -> int:
        return len(self.seeds)

    def stream(self, name: str) -> Chance:
        """Numbers of the same samples for another purpose, from their beginning."""
        word = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)
        return Chance(_mixed(self.seeds ^ word))

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32 (B, *shape), on the seeds' device."""
        count = math.prod(shape)
        first = self._drawn + 1
        self._drawn += count
        places = torch.arange(first, first + count, device=self.seeds.device)
        bits = _mixed(self.seeds[:, None] + places * INCREMENT)
        fractions = _shifted(bits, 64 - FRACTION_BITS).to(torch.float32)
        return (fractions * 2.0**-FRACTION_BITS).view(len(self.seeds), *shape)

    def symmetric(self, *shape: int) -> Tensor:
        """Uniform in [-1, 1), float32 (B, *shape)."""
        return 2.0 * self.uniform(*shape) - 1.0

    def normal(self, *shape: int) -> Tensor:
        """Normally distributed with mean 0 and deviation 1, float32 (B, *shape).

        Source:
            Box & Muller 1958, "A note on the generation of random normal deviates".
        """
        distance, turn = (2.0 * self.exponential(*shape)).sqrt(), self.uniform(*shape)
        return distance * torch.cos(2.0 * math.pi * turn)

    def exponential(self, *shape: int) -> Tensor:
        """Exponentially distributed with mean 1, float32 (B, *shape)."""
        return -torch.log1p(-self.uniform(*shape))


def _mixed(values: Tensor) -> Tensor:
    """SplitMix64's output function of int64 states."""
    values = (values ^ _shifted(values, 30)) * FIRST_FACTOR
    values = (values ^ _shifted(values, 27)) * SECOND_FACTOR
    return values ^ _shifted(values, 31)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shifts to the right and fills with zeros; torch's own shift repeats the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)
