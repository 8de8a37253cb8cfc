"""How well the modalities of a split find each other, in every direction."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.retrieval import RECALLS, Ranking, asked_samples, rank, row_means

Int = NDArray[np.int64]


def alike(identities: Int) -> Callable[[Int], NDArray[np.bool_]]:
    """Which samples are the same as some rows: themselves, those equal in a modality, and those of one group.

    Args:
        identities: (N, I) int64, equal where samples are equal in something; 0 for nothing.
    """

    def relevant(rows: Int) -> NDArray[np.bool_]:
        same = rows[:, None] == np.arange(len(identities))[None]
        for column in identities.T:
            mine = column[rows]
            same |= (mine[:, None] == column[None]) & (mine[:, None] != 0)
        return np.asarray(same)

    return relevant


def rankings(
    embeddings: NDArray[np.floating],
    present: NDArray[np.bool_],
    identities: Int,
    top: int = 3,
) -> dict[tuple[int, int], Ranking]:
    """(Modality that asks, modality that is found) -> the ranking of all N samples for those that are asked.

    Args:
        embeddings: (N, M, D) float, of length 1.
        present: (N, M) bool.
        identities: Of :func:`alike`.
        top: How many of the nearest are kept.
    """
    relevant = alike(identities)
    asked = asked_samples(len(embeddings))
    return {
        (query, found): rank(
            embeddings[:, query],
            embeddings[:, found],
            present[:, query],
            present[:, found],
            relevant,
            top,
            asked,
        )
        for query, found in permutations(range(embeddings.shape[1]), 2)
    }


def space_metrics(embeddings: NDArray[np.floating], identities: Int) -> dict[str, float]:
    """Recall, mean average precision and median rank over the samples, of each the mean over its directions.

    Args:
        embeddings: (N, M, D) float, of length 1; zeros where a sample lacks the modality.
        identities: Of :func:`alike`.

    Returns:
        Empty where no sample has two modalities.
    """
    present = np.abs(embeddings).sum(axis=-1) > 0
    directions = list(rankings(embeddings, present, identities).values())
    precision = row_means([ranking.precision for ranking in directions])
    if np.isnan(precision).all():
        return {}
    numbers = {
        f"recall_at_{count}": float(
            np.nanmean(row_means([ranking.recall(count) for ranking in directions]))
        )
        for count in RECALLS
    }
    numbers["mean_average_precision"] = float(np.nanmean(precision))
    ranks = row_means([ranking.ranks for ranking in directions])
    return {**numbers, "median_rank": float(np.nanmedian(ranks))}
