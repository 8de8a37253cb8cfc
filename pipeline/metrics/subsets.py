"""Subsets of the modalities: their names, the samples that have any of one, and a seed for each."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def subset_name(modalities: Sequence[str] | Mapping[str, object]) -> str:
    """The key of a subset: names joined by ``+``, in the order given."""
    return "+".join(modalities)


def rows_of(
    name: str, present: Mapping[str, NDArray[np.bool_]], num_samples: int
) -> NDArray[np.bool_]:
    """(N,) bool: samples that have at least one modality of the subset.

    Args:
        name: Of the subset.
        present: Modality -> (N,) bool, in the configuration's order.
        num_samples: N.

    Raises:
        ValueError: The subset is not made of the modalities, in their order.
    """
    modalities = name.split("+")
    if modalities != [modality for modality in present if modality in modalities]:
        raise ValueError(f"subset {name} is not made of {', '.join(present)}, in that order")
    rows = np.zeros(num_samples, bool)
    for modality in modalities:
        rows |= np.asarray(present[modality], bool)
    return rows


def named_seed(seed: int, name: str) -> int:
    """Splits the configuration's seed by name, so that one interval does not move another."""
    return zlib.crc32(f"{seed}/{name}".encode())
