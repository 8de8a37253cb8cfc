"""How far a night's rows are from those of the nights before: sums that parts add up to, and distances between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.sample import ERROR, MODALITIES

SAMPLES, EMBEDDING = "samples", "embedding"
SMOOTHING = (
    0.5  # samples added to every class, so that one that is absent on one side is no infinity
)
DIGITS = 6  # of a sum of embeddings that are kept in a part's record


@dataclass(frozen=True, slots=True)
class Profile:
    """Sums up the rows of one part; picklable, called on the workers.

    Attributes:
        columns: What the model says of a row.
        summary: What of it is counted, for good rows with these columns; None counts nothing of it.
    """

    columns: Sequence[str] = ()
    summary: Callable[[pa.Table], Sums] | None = None

    def __call__(self, table: pa.Table) -> Sums:
        """The sums of a part.

        Args:
            table: All rows of the part, good and bad, with what the model says of them.

        Returns:
            What :func:`pipeline.metrics.statistics.add_sums` adds and :func:`drift` compares: samples, how many have
            which modalities, what the model's summary counts, and the sum of the embeddings.
        """
        names = [MODALITIES, *self.columns]
        good = table.select([name for name in names if name in table.column_names])
        good = good.filter(table[ERROR].is_null())
        sums: Sums = {
            SAMPLES: good.num_rows,
            MODALITIES: dict(Counter("+".join(row) for row in good[MODALITIES].to_pylist())),
        }
        if self.summary is not None:
            sums |= self.summary(good)
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
        ``modality_psi``, and ``NAME_psi`` for each count of the model's summary (:func:`stability_index`), and
        ``embedding_shift``: the distance of the mean embeddings, over the length of the earlier one. Empty where one
        side has no samples.
    """
    if not before.get(SAMPLES) or not now.get(SAMPLES):
        return {}
    distances = {}
    for column in before:
        if column in now and column not in (SAMPLES, EMBEDDING):
            name = "modality" if column == MODALITIES else column
            distances[f"{name}_psi"] = stability_index(
                _shares(before[column]), _shares(now[column])
            )
    if len(before.get(EMBEDDING, ())) == len(now.get(EMBEDDING, ())) > 0:
        earlier, later = (np.array(sums[EMBEDDING]) / sums[SAMPLES] for sums in (before, now))
        length = float(np.linalg.norm(earlier))
        distance = float(np.linalg.norm(later - earlier))
        distances["embedding_shift"] = distance / length if length else distance
    return {name: round(value, 6) for name, value in distances.items()}


def stability_index(before: Mapping[object, float], now: Mapping[object, float]) -> float:
    """The population stability index of two sets of counts: 0 where the shares are equal; over 0.2 they are not alike.

    Half a sample is added to every class.

    Source: Siddiqi 2006, "Credit Risk Scorecards", chapter 8; it is the symmetric Kullback-Leibler divergence.
    """
    names = sorted({*before, *now}, key=str)
    old, new = (_smoothed([counts.get(name, 0) for name in names]) for counts in (before, now))
    return float(((new - old) * np.log(new / old)).sum())


def _smoothed(counts: list[float]) -> np.ndarray:
    """Shares of classes, (C,)."""
    smoothed = np.array(counts, dtype=np.float64) + SMOOTHING
    shares: np.ndarray = smoothed / smoothed.sum()
    return shares


def _shares(counts: Any) -> Mapping[Any, float]:
    return counts if isinstance(counts, Mapping) else dict(enumerate(counts))
