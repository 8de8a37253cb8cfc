"""Bootstrap intervals: how far a number could move had other samples been drawn.

Resampling N samples with replacement draws the counts of their distinct outcomes from a multinomial
distribution. Where outcomes are few (right or wrong, cells of a confusion matrix) we draw those
counts directly: the same distribution as resampling indices, in time independent of N.

Source: Efron, Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
CONFIDENCE = 0.95
_FEW_OUTCOMES = 64
_CHUNK_ELEMENTS = 4_000_000  # bounds the memory of one step to some tens of MB


def bootstrap_interval(
    values: NDArray[np.generic],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[float, float] | None:
    """Percentile interval of the mean of per-sample values.

    Args:
        values: (N,) bool or float, one value a sample (right or wrong, loss, ...).
        seed: Same seed, same interval.
        num_resamples: Bootstrap resamples; 0: none.
        confidence: Share of resamples inside the interval.

    Returns:
        Lower and upper end, or None without samples or without resamples.
    """
    if not len(values) or not num_resamples:
        return None
    means = bootstrap_means(values, seed=seed, num_resamples=num_resamples)
    return percentiles(means, confidence)


def bootstrap_means(
    values: NDArray[np.generic], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> NDArray[np.float64]:
    """Means of resamples: (num_resamples,) float64. ``values`` is (N,) with N > 0."""
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    outcomes, counts = np.unique(values, return_counts=True)
    if len(outcomes) <= _FEW_OUTCOMES:
        drawn = rng.multinomial(len(values), counts / len(values), size=num_resamples)
        return np.asarray(drawn @ outcomes / len(values), np.float64)
    means = [
        values[rng.integers(0, len(values), size=(rows, len(values)))].mean(axis=1)
        for rows in chunks(num_resamples, len(values))
    ]
    return np.concatenate(means)


def confusion_intervals(
    confusion: NDArray[np.int64],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, list[float]]:
    """Percentile intervals of the metrics that a confusion matrix determines.

    Args:
        confusion: (K, K) int64 counts, row = label, column = prediction.
        seed: Same seed, same intervals.
        num_resamples: Bootstrap resamples.
        confidence: Share of resamples inside the interval.

    Returns:
        ``accuracy``, ``balanced_accuracy`` and ``f1_macro`` -> [low, high]; empty without samples or without resamples.
    """
    from scipy.sparse import csr_array

    confusion = np.asarray(confusion, np.int64)
    total = int(confusion.sum())
    if not total:
        return {}
    rows, columns = np.nonzero(confusion)
    share = confusion[rows, columns] / total
    cells, num_classes = len(rows), len(confusion)

    def indicator(at: NDArray[np.generic], where: NDArray[np.bool_]) -> Any:
        """(cells, K): adds the cells that belong to a class."""
        (chosen,) = np.nonzero(where)
        return csr_array((np.ones(len(chosen)), (chosen, at[chosen])), shape=(cells, num_classes))

    everywhere = np.ones(cells, bool)
    to_hits = indicator(rows, rows == columns)
    to_labels, to_predictions = indicator(rows, everywhere), indicator(columns, everywhere)
    rng = np.random.default_rng(seed)
    resamples: dict[str, list[NDArray[np.float64]]] = {}
    for size in chunks(num_resamples, cells + 3 * num_classes):
        drawn = rng.multinomial(total, share, size=size).astype(np.float64)
        resampled = _from_counts(drawn @ to_hits, drawn @ to_labels, drawn @ to_predictions)
        for name, values in resampled.items():
            resamples.setdefault(name, []).append(values)
    return {
        name: list(percentiles(np.concatenate(values), confidence))
        for name, values in resamples.items()
    }


def _from_counts(
    hits: NDArray[np.float64], labels: NDArray[np.float64], predictions: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Metrics (R,) of R resamples from counts (R, K) of hits, labels and predictions per class."""
    size = labels.sum(axis=1)
    recall = np.divide(hits, labels, out=np.zeros_like(hits), where=labels > 0)
    seen = labels + predictions
    f1 = np.divide(2 * hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return {
        "accuracy": hits.sum(axis=1) / size,
        "balanced_accuracy": recall.sum(axis=1) / (labels > 0).sum(axis=1),
        "f1_macro": f1.sum(axis=1) / (seen > 0).sum(axis=1),
    }


def percentiles(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Ends of the interval that leaves equal shares of (R,) resampled values on both sides."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def resample_counts(
    num_samples: int, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Iterator[NDArray[np.float64]]:
    """How often each sample is drawn, in runs of resamples whose memory is bounded.

    Args:
        num_samples: N, at least one.
        seed: Same seed, same counts, whatever is computed from them.
        num_resamples: Resamples over all runs.

    Yields:
        (r, N) float64 whole numbers; each row adds up to N.
    """
    rng = np.random.default_rng(seed)
    for rows in chunks(num_resamples, num_samples):
        drawn = rng.integers(0, num_samples, size=(rows, num_samples))
        drawn += num_samples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * num_samples)
        yield counts.reshape(rows, num_samples).astype(np.float64)


def chunks(rows: int, width: int) -> Iterator[int]:
    """Splits ``rows`` rows of ``width`` elements into runs of bounded memory."""
    step = max(1, _CHUNK_ELEMENTS // max(1, width))
    for start in range(0, rows, step):
        yield min(step, rows - start)
