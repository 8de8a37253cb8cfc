"""What a model makes of samples in an evaluation: examples, and what a judge says of what was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SampleError
from pipeline.modalities.rendering.base import Rendering, generated
from pipeline.objectives.made import BETWEEN, ITSELF, NOTHING, REAL, SHOWN, TARGET, column_of
from pipeline.prediction.bundle import BundlePredictor
from pipeline.prediction.spec import ModelSpec
from pipeline.sample import KEY, LABEL, SHARD


@dataclass(frozen=True)
class Making:
    """What is asked of a model that makes values; picklable.

    Attributes:
        judge: The model that judges them, each modality alone; None where none does.
        examples_a_part: Samples of a part that are shown, those with the lowest chance; 0 shows none.
        steps: Of the way between two of them.
        seed: Of that chance.
    """

    judge: ModelSpec | None
    examples_a_part: int
    steps: int
    seed: int

    def shown(self, samples: pa.Table) -> np.ndarray:
        """Which are shown of B samples, (B,) bool: by their keys, whatever the model."""
        from pipeline.modalities.chance import Chance
        from pipeline.models.batch import chance_column

        draws = Chance(chance_column(samples, self.seed, 0)).stream("shown").uniform().numpy()
        chosen = np.zeros(len(draws), dtype=bool)
        chosen[np.argsort(draws, kind="stable")[: self.examples_a_part]] = True
        return chosen


class Makes:
    """Adds columns of structs about what a model makes, one for each subset of the modalities that is given.

    ``shown>SUBSET`` is what was made, of the samples that are shown, else null; ``made>SUBSET>NAME`` is what the judge
    says of a modality, or what was made of a label, which says it itself; ``real`` is what the samples are, and
    ``between`` lies between two of them.

    Args:
        predictor: The model.
        making: What is asked.
    """

    def __init__(self, predictor: BundlePredictor, making: Making) -> None:
        self.predictor, self.making = predictor, making
        self.renderings = predictor.objective.renderings(predictor.learned)
        self.judge = None if making.judge is None else BundlePredictor(making.judge)
        self.judged = [
            name for name in self.renderings if self.judge is not None and name in self.judge.codecs
        ]

    @property
    def kind(self) -> pa.StructType:
        """Of what is shown: every column of made values, beside that of the label where there is one."""
        names = [field for field in self.predictor.fields if field.name.startswith(generated(""))]
        return pa.struct(names)

    def fields(self, subsets: Sequence[str]) -> list[pa.Field]:
        """The columns.

        Args:
            subsets: Names of the subsets of the modalities.
        """
        subsets = [*subsets, *self.others]
        fields = [pa.field(f"{SHOWN}{subset}", self.kind) for subset in subsets]
        fields += [pa.field(REAL, self.kind), pa.field(BETWEEN, pa.list_(self.kind))]
        if self.judge is None:
            return fields
        kind = pa.struct(self.judge.fields)
        for subset in subsets:
            fields += [pa.field(column_of(subset, name), kind) for name in self.judged]
            fields += [pa.field(column_of(subset, name), pa.string()) for name in self.labels]
        return fields + [pa.field(column_of(ITSELF, name), kind) for name in self.judged]

    @property
    def others(self) -> list[str]:
        """What values are made of beside subsets of the modalities."""
        return [NOTHING, *([TARGET] if self.predictor.module.targets([]) else [])]

    @property
    def labels(self) -> list[str]:
        """What is made and is of no modality."""
        names = [field.name.removeprefix(generated("")) for field in self.kind]
        return [name for name in names if name not in self.renderings]

    def columns(self, samples: pa.Table, made: Mapping[str, pa.Table]) -> list[pa.Array]:
        """The columns of :meth:`fields`.

        Args:
            samples: B good samples, decoded.
            made: Subset -> what the model says of the samples by it, in the order of :meth:`fields`.
        """
        made = {**made, NOTHING: self.predictor.rows(samples, ())}
        of_targets = self.predictor.of_targets(samples)
        made |= {} if of_targets is None else {TARGET: of_targets}
        shown = self.making.shown(samples)
        columns = [_only(self._made(rows), shown) for rows in made.values()]
        columns.append(self._real(samples, shown))
        columns.append(self._between(samples, shown))
        if self.judge is None:
            return columns
        for rows in made.values():
            columns += [self._judged(samples, rows[generated(name)], name) for name in self.judged]
            columns += [rows[generated(name)].combine_chunks() for name in self.labels]
        values = self.predictor.originals(samples)
        kind = pa.struct(self.judge.fields)
        for name in self.judged:
            made_again = values.get(generated(name))
            columns.append(
                pa.nulls(samples.num_rows, kind)
                if made_again is None
                else self._judged(samples, self.renderings[name].encode(made_again), name)
            )
        return columns

    def _made(self, rows: pa.Table) -> pa.StructArray:
        names = [field.name for field in self.kind]
        return rows.select(names).combine_chunks().to_struct_array().combine_chunks()

    def _real(self, samples: pa.Table, shown: np.ndarray) -> pa.Array:
        chosen = samples.filter(pa.array(shown))
        values = self.predictor.originals(chosen) if chosen.num_rows else {}
        known = {
            generated(name): rendering.encode(values[generated(name)])
            for name, rendering in self.renderings.items()
            if generated(name) in values
        }
        columns = []
        for field in self.kind:
            name = field.name.removeprefix(generated(""))
            column = known.get(field.name, pa.nulls(chosen.num_rows, field.type))
            if name in self.labels:
                column = self._truths(chosen, field)
            if name in self.predictor.codecs and chosen.num_rows:
                missing = chosen[name].combine_chunks().is_null()
                column = pc.if_else(missing, pa.scalar(None, field.type), column)
            columns.append(column)
        rows = pa.StructArray.from_arrays(columns, fields=list(self.kind))
        return rows.take(pa.array(np.cumsum(shown) - 1, pa.int64(), mask=~shown))

    def _truths(self, samples: pa.Table, field: pa.Field) -> pa.Array:
        """What samples say of themselves, where that is one text; else nulls."""
        if LABEL in samples.column_names:
            truths = self.predictor.objective.truth(samples[LABEL].combine_chunks())
            if truths.type == field.type:
                return truths
        return pa.nulls(samples.num_rows, field.type)

    def _between(self, samples: pa.Table, shown: np.ndarray) -> pa.Array:
        """Lists of steps, of the first sample that is shown; null of the others."""
        kind = pa.list_(self.kind)
        places = np.flatnonzero(shown)[:2]
        rows = None
        if len(places) == 2:
            pair = samples.take(pa.array(places))
            rows = self.predictor.between(pair, self.making.steps)
        if rows is None:
            return pa.nulls(samples.num_rows, kind)
        steps = self._made(rows).to_pylist()
        first = [steps if row == places[0] else None for row in range(samples.num_rows)]
        return pa.array(first, kind)

    def _judged(
        self, samples: pa.Table, cells: pa.Array | pa.ChunkedArray, name: str
    ) -> pa.StructArray:
        """What the judge says of the values that were made of one modality."""
        assert self.judge is not None
        rendering = self.renderings[name]
        values = [_decoded(self.judge, rendering, name, cell) for cell in cells.to_pylist()]
        missing = [None] * len(values)
        columns = {SHARD: samples[SHARD].combine_chunks(), KEY: samples[KEY].combine_chunks()}
        columns |= {
            each: codec.to_arrow(values if each == name else missing)
            for each, codec in self.judge.codecs.items()
        }
        said = self.judge.rows(pa.table(columns), [name])
        return said.combine_chunks().to_struct_array().combine_chunks()


def _decoded(
    judge: BundlePredictor, rendering: Rendering, name: str, cell: object
) -> np.ndarray | None:
    """A made value as the judge's codec reads it; None where it cannot."""
    data, field = rendering.member(cell)
    try:
        return judge.codecs[name].decode(memoryview(data), field)
    except SampleError:
        return None


def _only(column: pa.StructArray, chosen: np.ndarray) -> pa.Array:
    """A column with nulls in all other places."""
    places = np.arange(len(chosen))
    return column.take(pa.array(places, pa.int64(), mask=~chosen))
