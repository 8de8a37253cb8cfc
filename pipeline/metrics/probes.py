"""What embeddings know of labels: nearest neighbours, a linear classifier, and prototypes of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.retrieval import DIGITS, blocks, nearest_places

Float = NDArray[np.float64]

NEIGHBOURS = 5
TEMPERATURE = 0.07
FOLDS = 5


@dataclass(frozen=True)
class Labelled:
    """Embeddings, and what they are embeddings of.

    Attributes:
        embeddings: (N, D) float, of length 1.
        labels: N names.
    """

    embeddings: Float
    labels: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> NDArray[np.str_]:
        """(N,) the labels as an array."""
        return np.asarray(self.labels, dtype=object).astype(str)


def nearest_neighbours(judged: Labelled, fitted: Labelled | None = None) -> NDArray[np.bool_]:
    """Whether the neighbours of each of N samples say its label: (N,) bool.

    Args:
        judged: The samples.
        fitted: Those that are its neighbours; None for the others of ``judged``.

    Source:
        Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", section 3.4: the
        neighbours vote with exp(similarity / 0.07), here five of them.
    """
    pool = judged if fitted is None else fitted
    names, ids = np.unique(pool.names, return_inverse=True)
    count = min(NEIGHBOURS, len(pool) - (fitted is None))
    right = np.zeros(len(judged), dtype=bool)
    truth = judged.names
    for block in blocks(np.arange(len(judged) if count else 0), len(pool)):
        similar = (judged.embeddings[block] @ pool.embeddings.T).round(DIGITS)
        if fitted is None:
            similar[np.arange(len(block)), block] = -np.inf
        nearest = nearest_places(similar, count)
        weights = np.exp(np.take_along_axis(similar, nearest, axis=1) / TEMPERATURE)
        votes = np.zeros((len(block), len(names)))
        np.add.at(votes, (np.arange(len(block))[:, None], ids[nearest]), weights)
        right[block] = names[votes.argmax(axis=1)] == truth[block]
    return right


def linear_probe(
    judged: Labelled, seed: int, fitted: Labelled | None = None
) -> NDArray[np.bool_] | None:
    """Whether a linear classifier of other samples says the label of each of N: (N,) bool.

    Args:
        judged: The samples.
        seed: Of the folds, each of which has about as many samples of a class as the others.
        fitted: Those that the classifier is fitted on; None for the samples of the other of five folds of ``judged``.

    Returns:
        None where there are no two classes with two samples to fit it on.

    Source:
        Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes", section 3; fitted on
        one split and judged on another as in Radford et al. 2021, "Learning transferable visual models from natural
        language supervision", section 3.2.
    """
    pool = judged if fitted is None else fitted
    if (np.unique(pool.names, return_counts=True)[1] > 1).sum() < 2:
        return None
    if fitted is not None:
        said = _said(fitted.embeddings, fitted.names, judged.embeddings)
        return np.asarray(said == judged.names, dtype=bool)
    names = judged.names
    folds = _folds(np.unique(names, return_inverse=True)[1], seed)
    right = np.zeros(len(judged), dtype=bool)
    for fold in range(FOLDS):
        held = folds == fold
        if held.any() and len(np.unique(names[~held])) > 1:
            said = _said(judged.embeddings[~held], names[~held], judged.embeddings[held])
            right[held] = said == names[held]
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


def _said(fitted: Float, names: NDArray[np.str_], judged: Float) -> NDArray[np.str_]:
    """What a linear classifier of (N, D) samples with N names says of (P, D) others: (P,) names."""
    from sklearn.linear_model import LogisticRegression

    # Vectors of length 1 have small channels: as sharp as the temperature makes a zero-shot classifier.
    probe = LogisticRegression(C=10.0, max_iter=200)
    probe.fit(fitted / TEMPERATURE**0.5, names)
    return np.asarray(probe.predict(judged / TEMPERATURE**0.5))


def _folds(ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each sample, (N,) int64: a class is dealt over the folds, beginning where the last one ended."""
    order = np.random.default_rng(seed).permutation(len(ids))
    folds = np.zeros(len(ids), dtype=np.int64)
    folds[order[np.argsort(ids[order], kind="stable")]] = np.arange(len(ids)) % FOLDS
    return folds
