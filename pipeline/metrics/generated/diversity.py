"""How different the values of one class are from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FEWEST = 2  # values that have a distance


def mean_distance(features: NDArray[np.floating]) -> float:
    """Mean Euclidean distance of all pairs of features, (N, D); NaN of fewer than two."""
    if len(features) < FEWEST:
        return float("nan")
    values = features.astype(np.float64)
    distances = [
        np.linalg.norm(values[row + 1 :] - values[row], axis=1) for row in range(len(values))
    ]
    return float(np.concatenate(distances).mean())


def diversity_by_class(features: NDArray[np.floating], classes: Sequence[str]) -> dict[str, float]:
    """:func:`mean_distance` within each class that has two values or more.

    Args:
        features: (N, D) float.
        classes: (N,) that of each.
    """
    names = np.asarray(classes, dtype=object)
    spreads = {name: mean_distance(features[names == name]) for name in sorted(set(classes))}
    return {name: spread for name, spread in spreads.items() if np.isfinite(spread)}


def diversity_ratio(
    made: NDArray[np.floating],
    made_classes: Sequence[str],
    real: NDArray[np.floating],
    real_classes: Sequence[str],
) -> float:
    """Diversity of made values as a share of that of real ones: the mean over the classes in which both have some.

    Args:
        made: (M, D) float.
        made_classes: (M,) what each was asked to be.
        real: (N, D) float.
        real_classes: (N,) what each is.

    Returns:
        1 where made values differ as much as real ones; 0 where all of a class are equal; NaN where no class has two
        values of both.
    """
    ours, theirs = diversity_by_class(made, made_classes), diversity_by_class(real, real_classes)
    ratios = [ours[name] / theirs[name] for name in ours if theirs.get(name, 0.0) > 0.0]
    return float(np.mean(ratios)) if ratios else float("nan")
