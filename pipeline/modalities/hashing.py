"""64-bit hashes of many values at once."""

from __future__ import annotations

import numpy as np


def mixed(values: np.ndarray) -> np.ndarray:
    """Spreads (N,) uint64 over all 64 bits, one to one.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", the finalizer of SplitMix64.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: np.ndarray = values ^ (values >> np.uint64(31))
    return spread
