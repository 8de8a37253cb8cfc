"""Repeat-factor sampling: an epoch shows samples of rare classes more than once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pipeline.sample import KEY, LABEL, SHARD


def repeat_factors(shares: Mapping[str, float], threshold: float) -> dict[str, float]:
    """How often an epoch shows the samples of each class, on average.

    Args:
        shares: Class -> share of the training samples that have it, f(c).
        threshold: Share of the samples below which a class is repeated, t.

    Returns:
        Class -> r(c) = max(1, sqrt(t / f(c))); 1 for a class without samples.

    Source:
        Gupta, Dollár, Girshick 2019, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", section 4.2.
    """
    return {
        name: max(1.0, math.sqrt(threshold / share)) if share else 1.0
        for name, share in shares.items()
    }


RarerThan = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="share of the samples; those of rarer classes are shown more than once an epoch (0: each once)",
    ),
]


@dataclass(frozen=True)
class Repeats:
    """How often an epoch shows each sample: the factor of the rarest class that it has, rounded up or down by chance.

    The chance of a sample is drawn from seed, epoch, shard and key, so that it does not depend on who reads it when.

    Attributes:
        factors: Class -> r(c).
        classes_of: Canonical text of a target -> its classes; picklable.
        seed: Of the configuration.
    """

    factors: Mapping[str, float]
    classes_of: Callable[[str], Sequence[str]]
    seed: int

    def __call__(self, samples: pa.Table, epoch: int) -> NDArray[np.int64]:
        """Repeats of B samples, int64 (B,), at least one.

        Args:
            samples: With the columns ``key``, ``shard`` and ``label``.
            epoch: Counted from 0.

        Source:
            Gupta et al. 2019, section 4.2: r(i) is the maximum of r(c) over the classes of sample i, and its fraction
            is drawn anew each epoch.
        """
        texts = samples[LABEL].to_pylist()
        factors = {text: self._factor(text) for text in set(texts)}
        averages = np.array([factors[text] for text in texts], dtype=np.float64)
        floors = np.floor(averages)
        names = zip(samples[SHARD].to_pylist(), samples[KEY].to_pylist(), strict=True)
        chance = np.array([_chance(self.seed, epoch, *name) for name in names], dtype=np.float64)
        return (floors + (chance < averages - floors)).astype(np.int64)

    def _factor(self, text: str | None) -> float:
        classes = () if text is None else self.classes_of(text)
        return max((self.factors.get(name, 1.0) for name in classes), default=1.0)


def _chance(seed: int, epoch: int, shard: str, key: str) -> float:
    """A number in [0, 1) that stands for a sample in an epoch, the same on every machine."""
    words = "\0".join(("repeats", str(seed), str(epoch), shard, key))
    scattered = blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(scattered, "little") >> 11) / (1 << 53)
