"""Exact nearest neighbours: every row is compared, and the best are kept."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pipeline.search.written import Batch

DIGITS = 9  # of a score; what the order of a sum changes lies behind them
SMALLEST_SQUARE = 1e-30  # of a length, below which single precision has lost too much


class Hit(NamedTuple):
    """A neighbour.

    Attributes:
        score: Cosine similarity, -1..1.
        shard: Its shard.
        key: Its key.
        row: Its number in the snapshot.
    """

    score: float
    shard: str
    key: str
    row: int


class Found(NamedTuple):
    """What a search came to.

    Attributes:
        hits: The neighbours, the nearest first; of equal scores, in the order of shard and key.
        compared: Rows that there were to choose from.
    """

    hits: list[Hit]
    compared: int


def nearest(
    query: np.ndarray, batches: Iterable[Batch], top: int, without: int | None = None
) -> Found:
    """The rows whose embeddings point most nearly the way of a query.

    Rows that have no embedding, or one without a direction (all zeros, or not finite), are left out. Memory holds one
    batch and ``top`` rows.

    Args:
        query: (D,) float, not all zeros.
        batches: The rows, with vectors of D.
        top: How many are wanted.
        without: A row that is left out: the one that asks.
    """
    best: list[Hit] = []
    compared = 0
    for batch in batches:
        allowed = batch.present.copy()
        if without is not None and 0 <= without - batch.first < len(allowed):
            allowed[without - batch.first] = False
        rows = np.flatnonzero(allowed)
        vectors = batch.vectors if len(rows) == len(allowed) else batch.vectors[rows]
        chosen = candidates(query, vectors, top, best[-1].score if len(best) == top else None)
        scores = similarities(query, vectors[chosen])
        compared += len(rows) - int(np.isnan(scores).sum())
        chosen, scores = chosen[~np.isnan(scores)], scores[~np.isnan(scores)]
        if len(chosen):
            best = ranked([*best, *_hits(batch, scores, rows[chosen])], top)
    return Found(best, compared)


def similarities(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Cosine similarities float64 (n,), in ``DIGITS`` digits; NaN where a vector has no direction.

    Args:
        query: (D,) float.
        vectors: (n, D) float.

    Source:
        Salton & McGill 1983, "Introduction to Modern Information Retrieval", section 4.1: the dot product over both
        lengths.
    """
    exact = vectors.astype(np.float64)
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
        scores = exact @ query.astype(np.float64) / (lengths * np.linalg.norm(query))
    scores[~np.isfinite(scores) | ~np.isfinite(lengths)] = np.nan
    # Equal vectors must be equal here, wherever in a batch they stand; + 0.0 makes one zero of two.
    rounded: np.ndarray = np.clip(scores.round(DIGITS), -1.0, 1.0) + 0.0
    return rounded


def ranked(hits: Iterable[Hit], top: int) -> list[Hit]:
    """The best ``top`` hits in the order that answers have: score, shard, key."""
    return heapq.nsmallest(top, hits, key=lambda hit: (-hit.score, hit.shard, hit.key, hit.row))


def candidates(
    query: np.ndarray, vectors: np.ndarray, top: int, worst: float | None = None
) -> np.ndarray:
    """Rows that may be among the best, from sums in single precision, which take half the time: int64, ascending.

    Rows for which these say nothing are among them.

    Args:
        query: (D,) float.
        vectors: (n, D) float.
        top: How many are wanted.
        worst: Score that the best so far have at least; None where there are fewer than ``top``.

    Source:
        Higham 2002, "Accuracy and Stability of Numerical Algorithms", equation 3.5: a sum of D products is off by at
        most D times the rounding unit, relative to the sum of their magnitudes. Twice that for the two lengths.
    """
    with np.errstate(all="ignore"):
        single = vectors.astype(np.float32, copy=False)
        squares = np.einsum("ij,ij->i", single, single)
        scores = single @ (query / np.linalg.norm(query)).astype(np.float32) / np.sqrt(squares)
        unsure = ~np.isfinite(scores) | (squares < SMALLEST_SQUARE) | ~np.isfinite(squares)
    off = 4 * vectors.shape[1] * float(np.finfo(np.float32).eps)
    if worst is None:
        finite = scores[~unsure]
        if len(finite) <= top:
            return np.arange(len(scores))
        worst = float(np.partition(finite, len(finite) - top)[len(finite) - top]) - off
    chosen: np.ndarray = np.flatnonzero(unsure | (scores >= worst - off))
    return chosen


def _hits(batch: Batch, scores: np.ndarray, rows: np.ndarray) -> list[Hit]:
    """Hits of some rows of a batch, ``scores`` float64 and ``rows`` int64, one of each a hit."""
    shards = batch.shards.take(rows).fill_null("").to_pylist()
    keys = batch.keys.take(rows).fill_null("").to_pylist()
    numbers = (rows + batch.first).tolist()
    return [Hit(*values) for values in zip(scores.tolist(), shards, keys, numbers, strict=True)]
