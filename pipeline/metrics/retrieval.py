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
    queries: Float,
    candidates: Float,
    has_query: Bool,
    has_candidate: Bool,
    relevant: Relevant,
    top: int = 3,
) -> Ranking:
    """Ranks all candidates for each query by cosine similarity.

    A sample with a query and a candidate is a query; every candidate is ranked. Among equal similarities, what is no
    answer comes first: a model that makes everything equal is no better than chance.

    Args:
        queries: (N, D) float, of length 1.
        candidates: (N, D) float, of length 1, of the same samples.
        has_query: (N,) bool, False where ``queries`` has no value.
        has_candidate: (N,) bool.
        relevant: Says which samples answer a query; its own sample is one of them.
        top: T, how many of the nearest are kept.

    Source:
        Manning, Raghavan, Schütze 2008, "Introduction to Information Retrieval", section 8.4 (average precision:
        the mean over answers of the precision at each); ties taken together, as in scikit-learn's
        ``average_precision_score``.
    """
    rows = np.flatnonzero(has_query & has_candidate)
    places = np.flatnonzero(has_candidate)
    total = len(queries)
    ranks, precision = np.full(total, np.nan), np.full(total, np.nan)
    chance = np.full((total, len(RECALLS)), np.nan)
    nearest, scores = np.full((total, top), -1), np.full((total, top), np.nan)
    found = candidates[places].astype(np.float64)
    for block in _blocks(rows, len(places)):
        similar = (queries[block].astype(np.float64) @ found.T).round(DIGITS)
        answers = relevant(block)[:, places]
        best = np.where(answers, similar, -np.inf).max(axis=1, keepdims=True)
        ranks[block] = 1 + ((similar >= best) & ~answers).sum(axis=1)
        precision[block] = [
            _average_precision(*pair) for pair in zip(similar, answers, strict=True)
        ]
        chance[block] = _by_chance(answers.sum(axis=1), len(places))
        order = np.argsort(-similar, axis=1, kind="stable")[:, :top]
        nearest[block, : order.shape[1]] = places[order]
        scores[block, : order.shape[1]] = np.take_along_axis(similar, order, axis=1)
    return Ranking(ranks, precision, chance, nearest, scores, len(places))


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


def _blocks(rows: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    size = max(1, _BLOCK_ELEMENTS // max(1, width))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _average_precision(similar: Float, answers: Bool) -> float:
    """Of one query: similarities (C,) float64 and which of the candidates answer it, (C,) bool."""
    thresholds = similar[answers]
    falling = -np.sort(-similar)
    falling_answers = -np.sort(-thresholds)
    passed = np.searchsorted(-falling, -thresholds, side="right")
    right = np.searchsorted(-falling_answers, -thresholds, side="right")
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
