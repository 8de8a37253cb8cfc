"""Precision and recall of made values: how many lie among the real ones, and how many real ones among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 3  # of Kynkäänniemi et al.
_BLOCK_ELEMENTS = 4_000_000  # distances that are held at a time

Floats = NDArray[np.floating]


class PrecisionRecall(NamedTuple):
    """Shares, from 0 to 1; NaN where a set has no more values than neighbours.

    Attributes:
        precision: Of the made values, those that lie among the real ones.
        recall: Of the real values, those that lie among the made ones.
    """

    precision: float
    recall: float


def precision_recall(real: Floats, made: Floats, neighbours: int = NEIGHBOURS) -> PrecisionRecall:
    """Which share of each set lies in the manifold of the other.

    A set's manifold is all that is no further from one of its features than the k-th nearest of the others is.

    Args:
        real: (N, D) float.
        made: (M, D) float.
        neighbours: k.

    Source:
        Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models", equations 1
        and 2.
    """
    if min(len(real), len(made)) <= neighbours:
        return PrecisionRecall(float("nan"), float("nan"))
    return PrecisionRecall(
        _share_within(made, real, neighbours), _share_within(real, made, neighbours)
    )


def _share_within(asked: Floats, others: Floats, neighbours: int) -> float:
    """Share of ``asked``, (M, D), in the manifold of ``others``, (N, D)."""
    # The nearest of each is itself, at distance 0.
    radii = np.concatenate(
        [
            np.partition(block, neighbours, axis=1)[:, neighbours]
            for block in _blocks(others, others)
        ]
    )
    inside = [(block <= radii).any(axis=1) for block in _blocks(asked, others)]
    return float(np.concatenate(inside).mean())


def _blocks(rows: Floats, columns: Floats) -> Iterator[NDArray[np.float64]]:
    """Squared Euclidean distances, some rows at a time; exactly 0 between equal features."""
    values = columns.astype(np.float64)
    size = max(1, _BLOCK_ELEMENTS // max(1, values.size))
    for start in range(0, len(rows), size):
        block = rows[start : start + size].astype(np.float64)
        yield np.square(block[:, None] - values[None]).sum(axis=2)
