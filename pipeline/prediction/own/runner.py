"""Predicts with a class that a person has written; see :mod:`pipeline.prediction.own`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.modalities.pretrained.base import local_file
from pipeline.models.batch import to_tensors
from pipeline.plugins import line_of_method
from pipeline.prediction.ahead import Prepared, ahead
from pipeline.prediction.columns import good_rows, with_columns
from pipeline.prediction.execution import Execution
from pipeline.prediction.own import OwnPredictor, made, own_code
from pipeline.prediction.own.columns import column_of
from pipeline.prediction.own.description import OwnDescription, files_digest, own_of
from pipeline.prediction.spec import ModelSpec
from pipeline.sample import KEY, PART, SHARD
from pipeline.shards.planning.plan import Part

Texts = dict[str, list[str]]


class OwnRunner:
    """Blocks of decoded samples in, the same rows with a person's columns in place of their modalities out.

    Micro-batches never cross blocks, so that rows are the same however many actors there are. On a GPU tensors are
    copied there while the micro-batch before is computed. A person's code is never called by two threads at once.

    Args:
        spec: Names the class, its settings and its weights.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.execution = Execution(spec)
        self.description = own_of(spec)
        self.fields = list(self.description.fields)
        self.codecs = self.description.codecs(spec.modalities)
        self.batch_size = spec.batch_size
        self._alone = threading.Lock()
        predictor = self._loaded(self.description)
        self._line = line_of_method(type(predictor), "predict")
        self._predict = self.execution.runner(predictor.predict)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predicts the good rows of a block; bad rows pass with nulls."""
        good = table.filter(pa.array(good_rows(table)))
        with self._alone:
            predicted = self._columns(good) if good.num_rows else None
        return with_columns(table, self.codecs, self.fields, predicted)

    def _loaded(self, description: OwnDescription) -> OwnPredictor:
        weights = description.weights
        path = None if weights is None else local_file(weights, "infer.weights=")
        if path is not None and files_digest(path)[0] != description.digest:
            raise ModelError(
                "the weights are others than when the job began, or than on the machine that it began on",
                where=f"infer.weights={weights}",
                fix="put the same files on every machine, and leave them as they are while a job runs",
            )
        predictor = made(description.model, description.settings)
        with own_code(description.model, "load"):
            predictor.load(self.execution.device, path)
        return predictor

    def _columns(self, table: pa.Table) -> pa.Table:
        """The columns of good rows."""
        batches = [self._answer(batch, rows) for batch, rows in self._batches(table)]
        return pa.concat_tables(batches).combine_chunks()

    def _batches(self, table: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
        """What a person's method is given, and the rows that it is made of."""
        waiting: deque[tuple[list[str], Texts, pa.Table]] = deque()

        def prepared() -> Iterator[Prepared]:
            for start in range(0, table.num_rows, self.batch_size):
                rows = table.slice(start, self.batch_size)
                tensors, texts = _collated(rows, self.codecs)
                waiting.append((list(tensors), texts, rows))
                yield rows.num_rows, tuple(tensors.values())

        for _, inputs in ahead(prepared(), self.execution.device):
            names, texts, rows = waiting.popleft()
            yield {**dict(zip(names, inputs, strict=True)), **texts}, rows

    def _answer(self, batch: Mapping[str, Any], rows: pa.Table) -> pa.Table:
        model = self.description.model
        with own_code(model, "predict", place=lambda: _place(rows)):
            columns = self._predict(batch)
        names = [field.name for field in self.fields]
        given = columns if isinstance(columns, Mapping) else {type(columns).__name__: None}
        if sorted(given) != sorted(names):
            raise ModelError(
                f"predict() of {model} gives {', '.join(given)}, and columns() names {', '.join(names)}",
                where=self._told(rows),
                fix="mend the class",
            )
        try:
            arrays = [
                column_of(_on_cpu(columns[field.name]), field, rows.num_rows)
                for field in self.fields
            ]
        except (ValueError, TypeError) as error:
            raise ModelError(
                f"predict() of {model} gives what columns() does not announce: {error}",
                where=self._told(rows),
                fix="mend the class, or set infer.precision=float32",
            ) from None
        return pa.Table.from_arrays(arrays, schema=pa.schema(self.fields))

    def _told(self, rows: pa.Table) -> str:
        """Where the person's method stands, and which samples it was given."""
        return ", ".join(filter(None, (self._line, _place(rows))))


def _collated(rows: pa.Table, codecs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Texts]:
    """``NAME`` and ``NAME_present`` as tensors, and the texts, which are none."""
    texts: Texts = {}
    tensors: dict[str, Tensor] = {}
    for name, codec in codecs.items():
        if pa.types.is_large_string(rows.schema.field(name).type):
            column = rows[name]
            texts[name] = [text or "" for text in column.to_pylist()]
            tensors[f"{name}_present"] = torch.from_numpy(np.array(column.is_valid()))
        else:
            tensors |= to_tensors(rows, {name: codec})
    return tensors, texts


def _on_cpu(values: Any) -> Any:
    """A tensor as an array; in single precision where arrays have not its own."""
    if not isinstance(values, Tensor):
        return values
    return (values.float() if values.is_floating_point() else values).cpu().numpy()


def _place(rows: pa.Table) -> str:
    """The shard, the part, and the first and last of some samples."""
    first, last = rows[KEY][0].as_py(), rows[KEY][-1].as_py()
    shard = rows[SHARD][0].as_py()
    start = _start(rows[PART][0].as_py())
    return f"shard={shard}{start}, samples {first} to {last}"


def _start(part: str) -> str:
    try:
        return f" offset={Part.from_json(part).start}"
    except ValueError:  # decoded without a shard
        return ""
