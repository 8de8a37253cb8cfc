"""Predicts with a bundle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.chance import CHANCE
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.batch import chance_column, to_device, to_tensors
from pipeline.models.bundle import Bundle
from pipeline.objectives.columns import in_half
from pipeline.objectives.sealed import objective_of, prediction_fields, restore
from pipeline.prediction.ahead import Prepared, ahead
from pipeline.prediction.columns import good_rows, with_columns
from pipeline.prediction.execution import Execution
from pipeline.prediction.spec import ModelSpec
from pipeline.sample import LABEL

# (batch, its B rows of the table) -> batch
Change = Callable[[dict[str, Tensor], pa.Table], dict[str, Tensor]]


class BundlePredictor:
    """Blocks of decoded samples in, the same rows with predictions in place of their modalities out.

    Networks see micro-batches of one shape, so that a sample's prediction does not depend on its neighbours, nor on
    how many there are; what a network draws for a sample comes from the seed, the sample's shard and its key. On a GPU
    micro-batches are copied there while the one before is computed.

    Args:
        spec: Names the folder of the bundle.
    """

    def __init__(self, spec: ModelSpec) -> None:
        loaded = Bundle.load(spec.model, spec.plugged)
        self.execution = Execution(spec)
        self.module = self.execution.ready(restore(loaded))
        self.network, self.targets = self.execution.runner(self.module.predict), self.module.targets
        self.modalities = loaded.modalities
        self.codecs = Decoder.build(loaded.modalities, loaded.tokenizer).codecs
        self.objective = objective_of(loaded).with_tokenizer(loaded.tokenizer)
        self.learned = loaded.learned
        self.batch_size, self.seed = spec.batch_size, spec.seed
        self.fields = prediction_fields(loaded, float16=spec.float16)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predicts the good rows of a block; bad rows pass with nulls."""
        good = table.filter(pa.array(good_rows(table)))
        predicted = self._columns(good) if good.num_rows else None
        return with_columns(table, self.codecs, self.fields, predicted)

    def predict(
        self,
        table: pa.Table,
        modalities: Sequence[str] | None = None,
        change: Change | None = None,
    ) -> dict[str, np.ndarray]:
        """Predicts a table of good samples.

        Args:
            table: B rows; with their shards and keys where the model draws.
            modalities: Those that may be looked at; all unless given.
            change: Makes another batch of each before the network sees it.

        Returns:
            Column name -> (B, ...) float32.
        """
        shown = self.codecs if modalities is None else modalities
        names = [*self.codecs, *(f"{name}_present" for name in self.codecs)]
        names += [CHANCE] if self.objective.draws else []
        names += [*self.targets([])] if self.objective.TAKES_TARGETS else []
        outputs: dict[str, list[Tensor]] = defaultdict(list)
        batches = ahead(self._micro_batches(table, names, shown, change), self.execution.device)
        for count, inputs in batches:
            batch = dict(zip(names, inputs, strict=True))
            for name, values in self.network(batch).items():
                outputs[name].append(values[:count].float())
        return {name: torch.cat(values).cpu().numpy() for name, values in outputs.items()}

    def _micro_batches(
        self,
        table: pa.Table,
        names: Sequence[str],
        shown: Collection[str],
        change: Change | None,
    ) -> Iterator[Prepared]:
        """Rows that count, and the tensors of those names, padded with the last row."""
        for start in range(0, table.num_rows, self.batch_size):
            rows = table.slice(start, self.batch_size)
            batch = to_tensors(rows, self.codecs)
            if change is not None:
                batch = change(batch, rows)
            for name in self.codecs:
                if name not in shown:
                    batch[f"{name}_present"] = torch.zeros_like(batch[f"{name}_present"])
            if self.objective.TAKES_TARGETS:
                # Of nothing means of no target, too.
                texts = rows[LABEL] if len(shown) else pa.nulls(rows.num_rows, pa.string())
                batch |= self.targets(texts.to_pylist())
            if CHANCE in names:
                batch[CHANCE] = chance_column(rows, self.seed, epoch=0)
            yield rows.num_rows, tuple(padded(batch[name], self.batch_size) for name in names)

    def rows(
        self,
        table: pa.Table,
        modalities: Sequence[str] | None = None,
        change: Change | None = None,
    ) -> pa.Table:
        """What the model says of good samples, as the objective's columns; see :meth:`predict`."""
        return self.objective.rows(self.predict(table, modalities, change), self.learned)

    def originals(self, table: pa.Table) -> dict[str, np.ndarray]:
        """What a model that makes values is to make of good samples: column name -> (B, ...) float32."""
        outputs: dict[str, list[Tensor]] = defaultdict(list)
        for start in range(0, table.num_rows, self.batch_size):
            made = self.execution.runner(self.module.originals)(
                self._batch(table.slice(start, self.batch_size))
            )
            for name, values in made.items():
                outputs[name].append(values.float())
        return {name: torch.cat(values).cpu().numpy() for name, values in outputs.items()}

    def of_targets(self, table: pa.Table) -> pa.Table | None:
        """The objective's columns for good samples of which the targets alone are given; None where there are none.

        Args:
            table: B rows with their canonical texts, shards and keys.
        """
        given = self.targets(table[LABEL].to_pylist())
        if not given:
            return None
        outputs: dict[str, list[Tensor]] = defaultdict(list)
        for start in range(0, table.num_rows, self.batch_size):
            rows = slice(start, start + self.batch_size)
            batch = self._batch(table.slice(start, self.batch_size))
            absent = {
                f"{name}_present": torch.zeros_like(batch[f"{name}_present"])
                for name in self.codecs
            }
            targets = {name: values[rows] for name, values in given.items()}
            targets = to_device(targets, self.execution.device)
            for name, values in self.network({**batch, **absent, **targets}).items():
                outputs[name].append(values.float())
        arrays = {name: torch.cat(values).cpu().numpy() for name, values in outputs.items()}
        return self.objective.rows(arrays, self.learned)

    def between(self, pair: pa.Table, steps: int) -> pa.Table | None:
        """The objective's columns of what lies between two samples; None where the model makes nothing of that."""
        made = self.execution.runner(self.module.between)(self._batch(pair), steps)
        if not made:
            return None
        arrays = {name: values.float().cpu().numpy() for name, values in made.items()}
        return self.objective.rows(arrays, self.learned)

    def _batch(self, rows: pa.Table) -> dict[str, Tensor]:
        """Samples as the network takes them, as many as there are."""
        batch = to_tensors(rows, self.codecs)
        batch[CHANCE] = chance_column(rows, self.seed, epoch=0)
        return to_device(batch, self.execution.device)

    def _columns(self, table: pa.Table) -> pa.Table:
        """The columns of ``fields``, the embedding in the precision that was asked for."""
        rows = self.rows(table)
        columns = []
        for field in self.fields:
            column = rows[field.name].combine_chunks()
            if column.type != field.type:
                column = in_half(column)
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=pa.schema(self.fields))


def padded(values: Tensor, size: int) -> Tensor:
    """Repeats the last row until there are ``size`` rows."""
    missing = size - len(values)
    return (
        torch.cat([values, values[-1:].expand(missing, *values.shape[1:])]) if missing else values
    )
