"""What embeddings know of labels: nearest neighbours, a linear classifier, and prototypes of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

NEIGHBOURS = 5
TEMPERATURE = 0.07
FOLDS = 5


def nearest_neighbours(embeddings: Float, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each sample's neighbours, the sample itself left out, say its label: (N,) bool.

    Args:
        embeddings: (N, D) float, of length 1.
        labels: N names.

    Source:
        Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", section 3.4: the
        neighbours vote with exp(similarity / 0.07), here five of them.
    """
    names, ids = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    right = np.zeros(len(ids), dtype=bool)
    count = min(NEIGHBOURS, len(ids) - 1)
    for row in range(len(ids)):
        similar = (embeddings @ embeddings[row]).round(9)
        similar[row] = -np.inf
        nearest = np.argsort(-similar, kind="stable")[:count]
        votes = np.bincount(
            ids[nearest], weights=np.exp(similar[nearest] / TEMPERATURE), minlength=len(names)
        )
        right[row] = count > 0 and votes.argmax() == ids[row]
    return right


def linear_probe(embeddings: Float, labels: Sequence[str], seed: int) -> NDArray[np.bool_] | None:
    """Whether a linear classifier of the other folds' samples says each sample's label: (N,) bool.

    Args:
        embeddings: (N, D) float, of length 1.
        labels: N names.
        seed: Of the folds, each of which has about as many samples of a class as the others.

    Returns:
        None where there are no two classes with two samples.

    Source:
        Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes", section 3.
    """
    from sklearn.linear_model import LogisticRegression

    ids = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)[1]
    if (np.bincount(ids) > 1).sum() < 2:
        return None
    folds = _folds(ids, seed)
    right = np.zeros(len(ids), dtype=bool)
    for fold in range(FOLDS):
        held = folds == fold
        if held.any() and len(np.unique(ids[~held])) > 1:
            # Vectors of length 1 have small channels: as sharp as the temperature makes a zero-shot classifier.
            probe = LogisticRegression(C=10.0, max_iter=200)
            probe.fit(embeddings[~held] / TEMPERATURE**0.5, ids[~held])
            right[held] = probe.predict(embeddings[held] / TEMPERATURE**0.5) == ids[held]
    return right


def by_prototypes(embeddings: Float, prototypes: Float) -> NDArray[np.int64]:
    """The place of the most similar of K prototypes for each sample: (N,) int64, of (N, D) and (K, D) float."""
    return np.asarray((embeddings @ prototypes.T).round(9).argmax(axis=1))


def mean_directions(embeddings: Float, groups: Sequence[str], names: Sequence[str]) -> Float:
    """(K, D) float64 of length 1: the direction of each group's mean.

    Args:
        embeddings: (P, D) float, of length 1.
        groups: The group of each.
        names: K groups, in the order that is wanted.

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision", section 3.1.4
        (the ensemble of prompts over the embedding space).
    """
    members = np.asarray(groups, dtype=object)
    means = np.stack([embeddings[members == name].mean(axis=0) for name in names])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.where(lengths > 0, lengths, 1.0), dtype=np.float64)


def _folds(ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each sample, (N,) int64: a class is dealt over the folds, beginning where the last one ended."""
    order = np.random.default_rng(seed).permutation(len(ids))
    folds = np.zeros(len(ids), dtype=np.int64)
    folds[order[np.argsort(ids[order], kind="stable")]] = np.arange(len(ids)) % FOLDS
    return folds
