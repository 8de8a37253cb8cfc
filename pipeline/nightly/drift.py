"""How far a night's rows are from those of the nights before: sums that parts add up to, and distances between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.columns import Sums
from pipeline.sample import ERROR, MODALITIES

EMBEDDING, PREDICTION, SCORE = "embedding", "prediction", "score"
SCORE_BINS = 10
SMOOTHING = (
    0.5  # samples added to every class, so that one that is absent on one side is no infinity
)
DIGITS = 6  # of a sum of embeddings that are kept in a part's record


@dataclass(frozen=True, slots=True)
class Profile:
    """Sums up the rows of one part; picklable, called on the workers."""

    def __call__(self, table: pa.Table) -> Sums:
        """The sums of a part.

        Args:
            table: All rows of the part, good and bad, with what the model says of them.

        Returns:
            What :func:`pipeline.metrics.statistics.add_sums` adds and :func:`drift` compares: samples, how many have
            which modalities, which prediction and which score, and the sum of the embeddings.
        """
        compared = [MODALITIES, PREDICTION, SCORE, EMBEDDING]
        columns = [name for name in compared if name in table.column_names]
        good = table.select(columns).filter(table[ERROR].is_null())
        sums: Sums = {
            "samples": good.num_rows,
            MODALITIES: dict(
                Counter("+".join(present) for present in good[MODALITIES].to_pylist())
            ),
        }
        if PREDICTION in good.column_names and (names := _names(good[PREDICTION])) is not None:
            sums[PREDICTION] = dict(Counter(names))
        if SCORE in good.column_names:
            bins = np.histogram(good[SCORE].to_numpy(), SCORE_BINS, (0.0, 1.0))[0]
            sums[SCORE] = bins.tolist()
        if EMBEDDING in good.column_names and good.num_rows:
            column = good[EMBEDDING].combine_chunks()
            rows = column.flatten().to_numpy().reshape(good.num_rows, -1)
            total = rows.sum(axis=0, dtype=np.float64)
            sums[EMBEDDING] = [float(f"{value:.{DIGITS}g}") for value in total]
        return sums


def drift(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, float]:
    """Distances between the rows of two times.

    Args:
        before: Sums of :class:`Profile`.
        now: As ``before``.

    Returns:
        ``prediction_psi``, ``score_psi`` and ``modality_psi`` (:func:`stability_index`), and ``embedding_shift``: the
        distance of the mean embeddings, over the length of the earlier one. Empty where one side has no samples.
    """
    if not before.get("samples") or not now.get("samples"):
        return {}
    distances = {}
    for name, column in (("prediction", PREDICTION), ("score", SCORE), ("modality", MODALITIES)):
        if column in before and column in now:
            distances[f"{name}_psi"] = stability_index(
                _shares(before[column]), _shares(now[column])
            )
    if len(before.get(EMBEDDING, ())) == len(now.get(EMBEDDING, ())) > 0:
        earlier, later = (np.array(sums[EMBEDDING]) / sums["samples"] for sums in (before, now))
        length = float(np.linalg.norm(earlier))
        distance = float(np.linalg.norm(later - earlier))
        distances["embedding_shift"] = distance / length if length else distance
    return {name: round(value, 6) for name, value in distances.items()}


def stability_index(before: Mapping[Any, float], now: Mapping[Any, float]) -> float:
    """The population stability index of two sets of counts: 0 where the shares are equal; over 0.2 they are not alike.

    Half a sample is added to every class.

    Source: Siddiqi 2006, "Credit Risk Scorecards", chapter 8; it is the symmetric Kullback-Leibler divergence.
    """
    names = sorted({*before, *now}, key=str)
    old, new = (_smoothed([counts.get(name, 0) for name in names]) for counts in (before, now))
    return float(((new - old) * np.log(new / old)).sum())


def _names(column: pa.ChunkedArray) -> list[str | None] | None:
    """The names that a column predicts, of each sample one or several; None where it predicts no names."""
    if pa.types.is_list(column.type):
        column = pc.list_flatten(column)
    names: list[str | None] | None = column.to_pylist() if pa.types.is_string(column.type) else None
    return names


def _smoothed(counts: list[float]) -> np.ndarray:
    """Shares of classes, (C,)."""
    smoothed = np.array(counts, dtype=np.float64) + SMOOTHING
    shares: np.ndarray = smoothed / smoothed.sum()
    return shares


def _shares(counts: Any) -> Mapping[Any, float]:
    return counts if isinstance(counts, Mapping) else dict(enumerate(counts))
