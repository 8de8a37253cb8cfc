"""What an evaluation asks of a model, part by part: predictions of subsets of the modalities, and of corrupted ones."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.metrics.subsets import subset_name
from pipeline.modalities.decoding.decoder import METADATA_PREFIX
from pipeline.modalities.decoding.targets import value_at
from pipeline.objectives.base import CONTENTS, EMBEDDING
from pipeline.prediction.columns import good_rows, with_columns
from pipeline.prediction.spec import ModelSpec
from pipeline.sample import KEY, MODALITIES, SHARD

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.evaluation.robustness import Prediction
    from pipeline.prediction.corrupted import Case
    from pipeline.prediction.made import Making

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corrupting:
    """Which samples are corrupted, and how; picklable.

    Attributes:
        chosen: Names of corruptions; all that the modalities know where None.
        seed: Of the draw of samples, and of the corruptions.
        samples_a_part: That are drawn, at most.
    """

    chosen: Sequence[str] | None
    seed: int
    samples_a_part: int

    def drawn(self, samples: pa.Table) -> np.ndarray:
        """Which good samples of a part are, (B,) bool: by their keys, whatever the model."""
        from pipeline.modalities.chance import Chance
        from pipeline.models.batch import chance_column

        draws = Chance(chance_column(samples, self.seed, 0)).stream("drawn").uniform().numpy()
        drawn = np.zeros(len(draws), dtype=bool)
        drawn[np.argsort(draws, kind="stable")[: self.samples_a_part]] = True
        return drawn


class PredictSubsets:
    """Replaces a block's modalities by one column of predictions, structs, for each subset of them.

    Where it is asked for, there is a column for each case of a corruption, too; null for samples that are not drawn.

    Args:
        spec: The model.
        subsets: Name -> modalities.
        columns: The predictions that are needed of every subset; of all modalities together, all but the embedding are.
        by_content: Whether a column says which samples are equal in which modality.
        corrupting: What is corrupted; None corrupts nothing.
        making: What is asked of the values that the model makes; None asks nothing.
    """

    def __init__(
        self,
        spec: ModelSpec,
        subsets: Mapping[str, Sequence[str]],
        columns: Sequence[str],
        by_content: bool = False,
        corrupting: Corrupting | None = None,
        making: Making | None = None,
    ) -> None:
        from pipeline.prediction.bundle import BundlePredictor
        from pipeline.prediction.corrupted import cases
        from pipeline.prediction.made import Makes

        self.predictor = BundlePredictor(spec)
        self.subsets, self.columns, self.by_content = subsets, columns, by_content
        self.corrupting = corrupting
        self.makes = None if making is None else Makes(self.predictor, making)
        self.cases: list[Case] = []
        if corrupting is not None:
            codecs = self.predictor.codecs
            self.cases = cases(self.predictor.modalities, codecs, corrupting.chosen)

    def __call__(self, table: pa.Table) -> pa.Table:
        good = good_rows(table)
        samples = table.filter(pa.array(good))
        schema = pa.schema(field for field in self.predictor.fields if field.name != EMBEDDING)
        fields, columns = [], []
        made: dict[str, pa.Table] = {}
        for name, subset in self.subsets.items():
            complete = len(subset) == len(self.predictor.codecs)
            names = schema.names if complete else self.columns
            kind = pa.struct([schema.field(column) for column in names])
            fields.append(pa.field(name, kind))
            if samples.num_rows:
                predicted_rows = self.predictor.rows(samples, subset)
                made |= {name: predicted_rows} if self.makes is not None else {}
                rows = predicted_rows.select(names).combine_chunks()
                columns.append(rows.to_struct_array().combine_chunks())
        if self.makes is not None:
            fields += self.makes.fields(list(self.subsets))
            columns += self.makes.columns(samples, made) if samples.num_rows else []
        if self.by_content:
            fields.append(
                pa.field(
                    CONTENTS, pa.struct([(name, pa.int64()) for name in self.predictor.codecs])
                )
            )
            if samples.num_rows:
                columns.append(self._contents(samples))
        kind = pa.struct(list(schema))
        fields += [pa.field(case.name, kind) for case in self.cases]
        if samples.num_rows:
            columns += self._corrupted(samples, kind)
        predicted = pa.Table.from_arrays(columns, schema=pa.schema(fields)) if columns else None
        return with_columns(table, self.predictor.codecs, fields, predicted)

    def _corrupted(self, samples: pa.Table, kind: pa.StructType) -> Iterator[pa.Array]:
        """A column a case, of the samples that are drawn."""
        if self.corrupting is None:
            return
        drawn = self.corrupting.drawn(samples)
        chosen = samples.filter(pa.array(drawn))
        places = pa.array(np.cumsum(drawn) - 1, pa.int64(), mask=~drawn)
        for case in self.cases:
            if not chosen.num_rows:
                yield pa.nulls(len(drawn), kind)
                continue
            change = partial(_changed, case, self.corrupting.seed)
            predicted = self.predictor.rows(chosen, change=change)
            predicted = (
                predicted.select(field.name for field in kind).combine_chunks().to_struct_array()
            )
            yield predicted.combine_chunks().take(places)

    def _contents(self, samples: pa.Table) -> pa.StructArray:
        from pipeline.models.batch import contents_of

        digests = contents_of(samples, self.predictor.codecs)
        return pa.StructArray.from_arrays(list(map(pa.array, digests.values())), list(digests))


def _changed(case: Case, seed: int, batch: dict[str, Tensor], rows: pa.Table) -> dict[str, Tensor]:
    from pipeline.models.batch import chance_column

    return case(batch, chance_column(rows, seed, 0))


def modality_subsets(names: Sequence[str], up_to: int | None = None) -> dict[str, tuple[str, ...]]:
    """Subsets of the modalities but the empty one: name, joined by ``+``, -> modalities.

    Args:
        names: Of the modalities.
        up_to: See :attr:`pipeline.objectives.base.ObjectiveSection.SUBSETS_UP_TO`.
    """
    few = up_to is None or len(names) <= up_to
    sizes = range(1, len(names) + 1) if few else (1, len(names))
    subsets = itertools.chain.from_iterable(itertools.combinations(names, size) for size in sizes)
    return {subset_name(subset): subset for subset in subsets}


def presence(table: pa.Table, modalities: Sequence[str]) -> dict[str, np.ndarray]:
    """Modality -> (N,) bool."""
    rows = table[MODALITIES].to_pylist()
    return {name: np.array([name in row for row in rows], dtype=bool) for name in modalities}


def contents(table: pa.Table) -> dict[str, np.ndarray]:
    """Modality -> (N,) int64."""
    digests = unpacked(table[CONTENTS])
    return {name: digests[name].to_numpy() for name in digests.column_names}


def unpacked(column: pa.ChunkedArray) -> pa.Table:
    """Structs without nulls as a table."""
    return pa.Table.from_struct_array(column.combine_chunks())


def corrupted(
    table: pa.Table, cases: Sequence[Case], present: Mapping[str, np.ndarray]
) -> Iterator[Prediction]:
    """What was predicted of each case, of the samples that were drawn and tell something.

    Args:
        table: Of :class:`PredictSubsets`.
        cases: Those that it was asked for.
        present: Modality -> (N,) bool.
    """
    for case in cases:
        column = table[case.name].combine_chunks()
        rows = np.flatnonzero(
            column.is_valid().to_numpy(zero_copy_only=False) & case.tells(present)
        )
        yield case.corrupted, rows, pa.Table.from_struct_array(column.take(pa.array(rows)))


def values_at(
    places: Sequence[str], table: pa.Table, json_depth: int
) -> dict[str, list[str | None]]:
    """Place -> what each sample has there; a place where none has anything is told in the log.

    Args:
        places: Fields, or paths in JSON fields, which were carried along.
        table: With metadata.
        json_depth: Levels that JSON may have.
    """
    fields = {
        name.removeprefix(METADATA_PREFIX): table[name].to_pylist()
        for name in table.column_names
        if name.startswith(METADATA_PREFIX)
    }
    rows = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    values = {place: [value_at(row, place, json_depth) for row in rows] for place in places}
    for place, found in values.items():
        if rows and all(value is None for value in found):
            logger.warning(
                "none of %d samples has anything at %s: look at evaluate.slices", len(rows), place
            )
    return values


def metadata_columns(places: Mapping[str, Sequence[str | None]]) -> dict[str, pa.Array]:
    """Columns of what samples have at places of their metadata."""
    return {METADATA_PREFIX + name: pa.array(row, pa.string()) for name, row in places.items()}


def write_predictions(
    table: pa.Table, predicted: pa.Table, beside: Mapping[str, pa.Array], url: str
) -> None:
    """Writes which samples there are, what is known of them, and what the model says of each, as Parquet."""
    columns = {name: table[name] for name in (KEY, SHARD, MODALITIES)} | dict(beside)
    columns |= {name: predicted[name] for name in predicted.column_names}
    columns |= {CONTENTS: table[CONTENTS]} if CONTENTS in table.column_names else {}
    with storage.create(url) as file:
        pq.write_table(pa.table(columns), file, compression="zstd")
