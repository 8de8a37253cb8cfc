"""How models do when a modality gets worse, and how two of them then differ, sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.evaluation.judged import Entrant
from pipeline.evaluation.presence import Portion
from pipeline.evaluation.robustness import Prediction
from pipeline.metrics.record import Corrupted, CorruptedScores, Interval
from pipeline.metrics.resampling.estimate import paired_difference
from pipeline.metrics.subsets import named_seed
from pipeline.objectives.base import Judging, ObjectiveSection
from pipeline.sample import LABEL

PREFIX = "robustness."  # of a column of predictions: the score of each sample when it is made worse, null of others
AS_IT_IS = "as it is"


@dataclass(frozen=True, kw_only=True)
class Worsened(Portion):
    """Samples of which a modality was made worse; the scores are the metric that models are compared by.

    Attributes:
        modality: Which.
        corruption: How.
        severity: How much, with its unit.
    """

    modality: str
    corruption: str
    severity: str


@dataclass(frozen=True, kw_only=True)
class WorsenedPair:
    """Two networks on the same samples, of which a modality was made worse.

    Attributes:
        modality: Which.
        corruption: How.
        severity: How much, with its unit.
        first: The best network.
        second: Another.
        num_samples: How many they are.
        difference: The first's mean score minus the second's.
        interval: Its 95 % interval, from resampled pairs.
    """

    modality: str
    corruption: str
    severity: str
    first: str
    second: str
    num_samples: int
    difference: float | None
    interval: Interval | None = None


class SampleColumns:
    """The score of each sample when it is made worse, as columns beside the predictions; none without such scores.

    Args:
        objective: What the model was trained for.
        labels: (N,) what predictions have as the target.
        evaluation: What was found of the samples as they are.
    """

    def __init__(
        self, objective: ObjectiveSection, labels: pa.Array, evaluation: Mapping[str, JsonValue]
    ) -> None:
        self.columns: dict[str, pa.Array] = {}
        self.fields: list[pa.Field] = []
        self._objective, self._labels, self._evaluation = objective, labels, evaluation

    def following(self, corrupted: Iterable[Prediction]) -> Iterator[Prediction]:
        """The same predictions, each noted on the way."""
        for what, rows, predicted in corrupted:
            if len(rows):
                self._note(what, rows, predicted)
            yield what, rows, predicted

    def _note(self, what: Corrupted, rows: NDArray[np.int64], predicted: pa.Table) -> None:
        labelled = predicted.append_column(LABEL, self._labels.take(pa.array(rows)))
        scores = self._objective.sample_scores(labelled, self._evaluation)
        if scores is None:
            return
        kept = scores.values if scores.values.dtype == bool else scores.values.astype(np.float32)
        places = np.full(len(self._labels), -1)
        places[rows] = np.arange(len(rows))
        name = f"{PREFIX}{what.modality}/{what.corruption}/{what.severity:g}"
        self.columns[name] = pa.array(kept).take(pa.array(places, mask=places < 0))


def by_corruption(entrants: Sequence[Entrant], metric: str) -> tuple[Worsened, ...]:
    """The metric as samples are, and at the worst severity of each way in which a modality was made worse.

    Only ways that every network was judged by, on as many samples, are told; of several seeds, the mean.

    Args:
        entrants: Of which baselines are passed over.
        metric: That models are compared by.
    """
    tables = {
        entrant.name: [_ends(model.record.robustness or (), metric) for model in entrant.models]
        for entrant in entrants
        if not entrant.baseline
    }
    every = [table for models in tables.values() for table in models]
    found = []
    for what, row in (every[0] if every else {}).items():
        if all(what in table and table[what].num_samples == row.num_samples for table in every):
            found.append(
                Worsened(
                    modality=row.modality,
                    corruption=row.corruption,
                    severity=_in_words(row),
                    num_samples=row.num_samples or 0,
                    scores={
                        name: float(np.mean([table[what].metrics[metric] for table in models]))
                        for name, models in tables.items()
                    },
                    intervals={
                        name: ends
                        for name, models in tables.items()
                        if len(models) == 1 and (ends := models[0][what].interval_of(metric))
                    },
                )
            )
    return tuple(found)


def _ends(
    table: Sequence[CorruptedScores], metric: str
) -> dict[tuple[str, str, float | None], CorruptedScores]:
    """The uncorrupted row of each way, and that of the worst severity."""
    ways: dict[tuple[str, str], list[CorruptedScores]] = {}
    for row in table:
        if row.metrics.get(metric) is not None:
            ways.setdefault((row.modality, row.corruption), []).append(row)
    return {
        (row.modality, row.corruption, row.severity): row
        for rows in ways.values()
        for row in (rows[0], rows[-1])
    }


def worsened_pairs(entrants: Sequence[Entrant], judging: Judging) -> tuple[WorsenedPair, ...]:
    """Each other network against the best one at every severity, and before those on the same samples as they are.

    Only what all models of the two were judged by, on the same samples, is told; of several seeds, samples have the
    mean of their scores.

    Args:
        entrants: Judged on the same samples in the same order, the best first; baselines are passed over.
        judging: Seed and resamples of intervals.
    """
    networks = [entrant for entrant in entrants if not entrant.baseline]
    return tuple(pair for second in networks[1:] for pair in _pairs(networks[0], second, judging))


def _pairs(first: Entrant, second: Entrant, judging: Judging) -> Iterator[WorsenedPair]:
    record, rows = first.models[0].record, first.models[0].rows
    units = {(row.modality, row.corruption): row.unit for row in record.robustness or ()}
    clean = [entrant.scores() for entrant in (first, second)]
    way_before = None
    for column in rows.column_names:
        scores = [_means(entrant, column) for entrant in (first, second)]
        if any(values is None for values in scores):
            continue
        ours, theirs = (np.asarray(values) for values in scores)
        places = np.flatnonzero(~np.isnan(ours))
        if not np.array_equal(places, np.flatnonzero(~np.isnan(theirs))):
            continue
        modality, _, rest = column.removeprefix(PREFIX).partition("/")
        corruption, _, severity = rest.rpartition("/")
        way = Corrupted(
            modality=modality, corruption=corruption, unit=units.get((modality, corruption), "")
        )
        cases = [(replace(way, severity=float(severity)), ours, theirs)]
        if way != way_before and clean[0] is not None and clean[1] is not None:
            cases.insert(0, (way, clean[0].values, clean[1].values))
        way_before = way
        for what, left, right in cases:
            paired = paired_difference(
                left[places],
                right[places],
                seed=named_seed(judging.seed, f"{first.name}/{second.name}/{column}"),
                num_resamples=judging.num_bootstrap,
            )
            yield WorsenedPair(
                modality=modality,
                corruption=corruption,
                severity=_in_words(what),
                first=first.name,
                second=second.name,
                num_samples=len(places),
                difference=paired.value,
                interval=paired.interval,
            )


def _means(entrant: Entrant, column: str) -> NDArray[np.float64] | None:
    """(N,) the scores of a column, the mean over the models, NaN of other samples; None where one does not have it."""
    tables = [model.rows for model in entrant.models]
    if not column.startswith(PREFIX) or any(column not in rows.column_names for rows in tables):
        return None
    values = [rows[column].cast(pa.float64()).to_numpy() for rows in tables]
    means: NDArray[np.float64] = np.mean(values, axis=0)
    return means


def _in_words(row: Corrupted) -> str:
    if row.severity is None:
        return AS_IT_IS
    return f"{row.severity:g} ({row.unit})" if row.unit else f"{row.severity:g}"
