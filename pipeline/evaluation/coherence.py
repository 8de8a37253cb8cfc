"""Whether what a model made says what it should, as another model hears, sees or reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.subsets import named_seed, subset_name
from pipeline.objectives.base import EMBEDDING, Judging, ObjectiveSection
from pipeline.objectives.columns import matrix
from pipeline.objectives.evaluation import JudgedFeatures
from pipeline.objectives.made import ITSELF, NOTHING, TARGET, column_of
from pipeline.sample import LABEL

ALL = "all"


@dataclass(frozen=True)
class Judge:
    """A model that judges made values, by what it was trained to tell.

    Attributes:
        name: Its folder, as a page says it.
        objective: What it was trained for.
        judging: How the split is judged.
        truths: Canonical texts of its own targets, of N samples; None where one has none.
    """

    name: str
    objective: ObjectiveSection
    judging: Judging
    truths: Sequence[str | None]

    def coherence(
        self, table: pa.Table, present: Mapping[str, NDArray[np.bool_]], subsets: Sequence[str]
    ) -> dict[str, JsonValue]:
        """What it finds, ready for JSON.

        Args:
            table: With the columns of :class:`pipeline.prediction.made.Makes`, of N samples.
            present: Modality -> (N,) bool.
            subsets: Names of the subsets that values were made of.

        Returns:
            ``real``: modality -> its score where the sample's own values were written and judged, which no model
            is likely to surpass; ``conditional``: subset -> what was made -> the score of samples that have all of the
            subset; ``joint``: how often two things that were made of nothing say the same, and how often all do.
        """
        names = list(_names(table))
        real = {
            name: self._score(table[column_of(ITSELF, name)], present[name], f"real {name}")
            for name in names
            if column_of(ITSELF, name) in table.column_names
            and table[column_of(ITSELF, name)].null_count < table.num_rows
        }
        conditional: dict[str, JsonValue] = {}
        of_targets = [TARGET] if names and column_of(TARGET, names[0]) in table.column_names else []
        for subset in (*subsets, *of_targets):
            rows = _having(subset, present, len(self.truths))
            scores = {
                name: self._score(table[column_of(subset, name)], rows, f"{subset} {name}")
                for name in names
            }
            conditional[subset] = {name: score for name, score in scores.items() if score}
        return {
            "judge": self.name,
            "metric": self.objective.metric,
            "real": {name: score for name, score in real.items() if score},
            "conditional": conditional,
            "joint": dict(self._joint(table, names)),
        }

    def features(
        self, table: pa.Table, present: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, JudgedFeatures]:
        """What it sees of each modality that it judges.

        Args:
            table: As of :meth:`coherence`.
            present: Modality -> (N,) bool.
        """
        whole = subset_name(present)
        return {
            name: self._seen(table, column_of(whole, name), column_of(ITSELF, name), present[name])
            for name in _names(table)
            if column_of(ITSELF, name) in table.column_names
        }

    def _seen(
        self, table: pa.Table, made: str, real: str, present: NDArray[np.bool_]
    ) -> JudgedFeatures:
        rows, own = (
            pa.Table.from_struct_array(table[name].combine_chunks()) for name in (made, real)
        )
        return JudgedFeatures(
            real=matrix(own[EMBEDDING]),
            made=matrix(rows[EMBEDDING]),
            present=present,
            truths=self.truths,
            answers=self.objective.answers(rows),
        )

    def _score(
        self, column: pa.ChunkedArray, rows: NDArray[np.bool_], name: str
    ) -> dict[str, JsonValue] | None:
        """The judge's own score of some samples, of those that have a truth; None where it has none."""
        known = np.array([truth is not None for truth in self.truths], dtype=bool) & rows
        places = pa.array(np.flatnonzero(known))
        if not len(places):
            return None
        said = column.combine_chunks().take(places)
        texts = pa.array(self.truths, pa.string()).take(places)
        if pa.types.is_struct(said.type):
            judged = pa.Table.from_struct_array(said)
            judged = judged.append_column(LABEL, self.objective.truth(texts))
            scores = self.objective.sample_scores(judged, {})
            values = None if scores is None else np.asarray(scores.values, np.float64)
        else:
            pairs = zip(said.to_pylist(), texts.to_pylist(), strict=True)
            values = np.array([float(answer == truth) for answer, truth in pairs])
        return None if values is None else self._mean(values, name)

    def _joint(self, table: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, JsonValue]]:
        """How often what was made of nothing says the same, by pairs; and all of it, where that is more than two."""
        answers = {}
        for name in names:
            column = table[column_of(NOTHING, name)].combine_chunks()
            said = (
                self.objective.answers(pa.Table.from_struct_array(column))
                if pa.types.is_struct(column.type)
                else column.to_pylist()
            )
            if said is None:
                return
            answers[name] = said
        groups = list(combinations(names, 2))
        for group in groups if len(names) == 2 else [*groups, tuple(names)]:
            rows = zip(*(answers[name] for name in group), strict=True)
            same = np.array([float(len(set(row)) == 1) for row in rows])
            name = ALL if len(group) > 2 else "+".join(group)
            yield name, self._mean(same, f"joint {name}")

    def _mean(self, values: NDArray[np.float64], name: str) -> dict[str, JsonValue]:
        interval = bootstrap_interval(
            values,
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
        )
        return {
            "value": float(values.mean()),
            "interval": None if interval is None else [*interval],
            "num_samples": len(values),
        }


def _having(subset: str, present: Mapping[str, NDArray[np.bool_]], count: int) -> NDArray[np.bool_]:
    """(N,) bool: samples that have all of a subset."""
    if subset == TARGET:
        return np.ones(count, dtype=bool)
    rows: NDArray[np.bool_] = np.logical_and.reduce([present[name] for name in subset.split("+")])
    return rows


def _names(table: pa.Table) -> Iterator[str]:
    """What was made of nothing, in the order of the table."""
    start = column_of(NOTHING, "")
    for name in table.column_names:
        if name.startswith(start):
            yield name.removeprefix(start)
