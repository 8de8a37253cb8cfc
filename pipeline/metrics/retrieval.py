"""How well one thing of a sample finds another: ranks, recall, mean average precision, and what chance reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import chunks, percentiles
from pipeline.metrics.resampling.estimate import Estimate

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Relevant = Callable[[NDArray[np.int64]], Bool]
"""Rows (n,) -> (n, N) bool: the samples that answer each of these queries as well as its own sample does."""

RECALLS = (1, 5, 10)
DIGITS = 9  # of a similarity; what the order of a sum changes lies behind them
MAX_QUERIES = 5_000  # of a split, each ranked against all candidates: the cost grows with samples, not their square
_BLOCK_ELEMENTS = 4_000_000  # similarities that are held at a time


@dataclass(frozen=True)
class Ranking:
    """Where the answers of N queries stand among the candidates; NaN, or -1, for samples that are no query.

    Attributes:
        ranks: (N,) float64, of the best answer, from 1.
        precision: (N,) float64, average precision.
        chance: (N, 3) float64, probability that a random order has an answer among the first of ``RECALLS``.
        nearest: (N, T) int64, the T best candidates, the best first; -1 where there are fewer.
        scores: (N, T) float64, their cosine similarities.
        num_candidates: Samples that there are to find.
    """

    ranks: Float
    precision: Float
    chance: Float
    nearest: NDArray[np.int64]
    scores: Float
    num_candidates: int

    def recall(self, count: int) -> Float:
        """(N,) float64: 1 where an answer is among the first ``count``, else 0; NaN where there is no query."""
        return np.where(np.isnan(self.ranks), np.nan, self.ranks <= count)


def rank(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    has_query: Bool,
    has_candidate: Bool,
    relevant: Relevant,
    top: int = 3,
    asked: Bool | None = None,
) -> Ranking:
    """Ranks all candidates for each query by cosine similarity.

    A sample with a query and a candidate is a query; every candidate is ranked. Among equal similarities, what is no
    answer comes first: a model that makes everything equal is no better than chance. Similarities are held in blocks of
    4 million; the time is that of queries times candidates.

    Args:
        queries: (N, D) float, of length 1.
        candidates: (N, D) float, of length 1, of the same samples.
        has_query: (N,) bool, False where ``queries`` has no value.
        has_candidate: (N,) bool.
        relevant: Says which samples answer a query; its own sample is one of them.
        top: T, how many of the nearest are kept.
        asked: (N,) bool, False for samples that are no query; see :func:`asked_samples`. None asks all.

    Source:
        Manning, Raghavan, Schütze 2008, "Introduction to Information Retrieval", section 8.4 (average precision:
        the mean over answers of the precision at each); ties taken together, as in scikit-learn's
        ``average_precision_score``.
    """
    both = has_query & has_candidate
    rows = np.flatnonzero(both if asked is None else both & asked)
    places = np.flatnonzero(has_candidate)
    total = len(queries)
    ranks, precision = np.full(total, np.nan), np.full(total, np.nan)
    chance = np.full((total, len(RECALLS)), np.nan)
    nearest, scores = np.full((total, top), -1), np.full((total, top), np.nan)
    found = candidates[places].astype(np.float64, copy=False)
    for block in blocks(rows, len(places)):
        similar = (queries[block].astype(np.float64) @ found.T).round(DIGITS)
        answers = relevant(block)[:, places]
        best = np.where(answers, similar, -np.inf).max(axis=1, keepdims=True)
        ranks[block] = 1 + ((similar >= best) & ~answers).sum(axis=1)
        precision[block] = [
            _average_precision(*pair) for pair in zip(similar, answers, strict=True)
        ]
        chance[block] = _by_chance(answers.sum(axis=1), len(places))
        order = nearest_places(similar, top)
        nearest[block, : order.shape[1]] = places[order]
        scores[block, : order.shape[1]] = np.take_along_axis(similar, order, axis=1)
    return Ranking(ranks, precision, chance, nearest, scores, len(places))


def asked_samples(total: int, seed: int = 0) -> Bool:
    """(total,) bool: which samples of a split ask; all of at most ``MAX_QUERIES``, else as many drawn at random."""
    if total <= MAX_QUERIES:
        return np.ones(total, dtype=bool)
    asked = np.zeros(total, dtype=bool)
    asked[np.random.default_rng(seed).choice(total, MAX_QUERIES, replace=False)] = True
    return asked


def nearest_places(similar: Float, count: int) -> NDArray[np.int64]:
    """The places of the highest of (n, C) similarities, (n, min(count, C)) int64; of equal ones the first."""
    count = min(count, similar.shape[1])
    lowest = np.partition(similar, -count, axis=1)[:, -count]
    chosen = np.empty((len(similar), count), dtype=np.int64)
    for row, values in enumerate(similar):
        places = np.flatnonzero(values >= lowest[row])
        chosen[row] = places[np.argsort(-values[places], kind="stable")[:count]]
    return chosen


def blocks(rows: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    """The rows, in runs that have so few of them that 4 million similarities with ``width`` candidates are held."""
    size = max(1, _BLOCK_ELEMENTS // max(1, width))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def median_estimate(values: Float, *, seed: int, num_resamples: int) -> Estimate:
    """The median of (N,) float64, NaN left out, with the bootstrap's interval."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Estimate(None, undefined="no samples")
    if not num_resamples:
        return Estimate(float(np.median(defined)))
    rng = np.random.default_rng(seed)
    medians = [
        np.median(defined[rng.integers(0, len(defined), size=(size, len(defined)))], axis=1)
        for size in chunks(num_resamples, len(defined))
    ]
    return Estimate(float(np.median(defined)), percentiles(np.concatenate(medians), 0.95))


def row_means(columns: list[Float]) -> Float:
    """(N,) float64 means over columns (N,), NaN left out; NaN where a row has nothing else."""
    values = np.stack(columns, axis=1)
    defined = ~np.isnan(values)
    counts = defined.sum(axis=1)
    totals = np.where(defined, values, 0.0).sum(axis=1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _average_precision(similar: Float, answers: Bool) -> float:
    """Of one query: similarities (C,) float64 and which of the candidates answer it, (C,) bool."""
    thresholds = np.sort(similar[answers])
    total = len(thresholds)
    # How many thresholds each candidate reaches; from the last to the first, how many candidates reach each.
    reached = np.bincount(np.searchsorted(thresholds, similar, side="right"), minlength=total + 1)
    passed = reached[::-1].cumsum()[::-1][1:]
    right = total - np.searchsorted(thresholds, thresholds, side="left")
    return float((right / passed).mean())


def _by_chance(answers: NDArray[np.int64], total: int) -> Float:
    """(n, 3): 1 - C(total - a, k) / C(total, k) for each number of answers a and each k of ``RECALLS``."""
    shares = []
    for count in RECALLS:
        missed = np.ones(len(answers))
        for place in range(min(count, total)):
            missed *= np.clip(total - answers - place, 0, None) / (total - place)
        shares.append(1 - missed)
    return np.stack(shares, axis=1)
