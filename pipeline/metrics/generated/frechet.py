"""The distance of two sets of features, each taken for a normal distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST = 2  # features that have a covariance


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Fréchet distance of the normal distributions with the means and covariances of two sets.

    It falls with the number of features, so that only distances of sets of the same sizes compare.

    Args:
        first: (N, D) float, N >= 2.
        second: (M, D) float, M >= 2.

    Returns:
        |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)), in squared units of the features; NaN of sets that are smaller.

    Source:
        Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions", equation 4; as a metric
        of made values, Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash
        equilibrium", equation 6.
    """
    if min(len(first), len(second)) < FEWEST:
        return float("nan")
    means, covariances = zip(*map(_moments, (first, second)), strict=True)
    # The square roots of C1 C2 have the eigenvalues of those of the symmetric C1^(1/2) C2 C1^(1/2).
    root = _root(covariances[0])
    eigenvalues = np.linalg.eigvalsh(root @ covariances[1] @ root)
    shared = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
    moved = np.square(means[0] - means[1]).sum()
    spread = np.trace(covariances[0]) + np.trace(covariances[1]) - 2.0 * shared
    return float(max(0.0, moved + spread))


def _moments(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and covariance (D, D), by N - 1."""
    values = features.astype(np.float64)
    return values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The square root of a symmetric matrix without negative eigenvalues but by rounding."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T
    return root
