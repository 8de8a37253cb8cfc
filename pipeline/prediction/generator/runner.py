"""Writes texts with a pretrained generator."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

from pipeline.modalities.pretrained import generators
from pipeline.modalities.pretrained.generators.writing import Piece, Written
from pipeline.prediction.ahead import Prepared, ahead
from pipeline.prediction.columns import good_rows, with_columns
from pipeline.prediction.execution import Execution
from pipeline.prediction.generator import generator_of
from pipeline.prediction.spec import ModelSpec
from pipeline.sample import ERROR_TYPE, REMARKS

CUT, SETTING = "noted_cut_text", "infer.settings.max_new_tokens"


class GeneratorPredictor:
    """Blocks of decoded samples in, the same rows with texts in place of their modality out.

    Micro-batches never cross blocks, and all their rows are of one size, which a row has of itself: what is written
    about a sample does not depend on its neighbours. On a GPU the next micro-batch is made ready and copied there while
    one is computed.

    Args:
        spec: Names the folder, and how the network runs.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.execution = Execution(spec)
        if self.execution.device.type != "cuda":
            # Threads of a tokenizer's own would take the time of the network, and of decoding.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.description = generator_of(spec)
        self.fields = list(self.description.fields)
        self.batch_size = spec.batch_size
        [self.name] = self.description.inputs
        self.generator = generators.load(self.description)
        self.execution.ready(self.generator.network)
        self._generate = self.execution.runner(self.generator.generate)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Writes about the good rows of a block; bad rows pass with nulls."""
        rows = np.flatnonzero(good_rows(table))
        column = table[self.name].combine_chunks().take(pa.array(rows))
        present = np.asarray(column.is_valid())
        samples = self._samples(column.drop_null()) if present.any() else []
        cut = [any(written.is_cut for _, written in sample) for sample in samples]
        table = _noted(table, rows[present][np.array(cut, dtype=bool)])
        texts = self._texts(samples, present) if len(rows) else None
        return with_columns(table, {self.name: None}, self.fields, texts)

    def _samples(self, column: pa.Array) -> list[list[tuple[Piece, Written]]]:
        """What was written about each value of a column without nulls, by its windows."""
        samples: list[list[tuple[Piece, Written]]] = [[] for _ in range(len(column))]
        for pieces in self.generator.passes(column):
            for piece, written in self._written(pieces):
                samples[piece.row].append((piece, written))
        for sample in samples:
            sample.sort(key=lambda pair: pair[0].number)
        return samples

    def _written(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Written]]:
        """Pieces and what was written about them, a micro-batch after the other."""
        waiting: deque[Sequence[Piece]] = deque()

        def prepared() -> Iterator[Prepared]:
            for batch in micro_batches(pieces, self.batch_size):
                waiting.append(batch)
                yield len(batch), self.generator.prepare(batch)

        for _, inputs in ahead(prepared(), self.execution.device):
            sequences = self._generate(*inputs).tolist()
            for piece, tokens in zip(waiting.popleft(), sequences, strict=True):
                yield piece, self.generator.read(tokens, piece)

    def _texts(
        self, samples: Sequence[Sequence[tuple[Piece, Written]]], present: np.ndarray
    ) -> pa.Table:
        """The columns of good rows, null where a sample lacks the modality."""
        columns = self.generator.columns(samples)
        places = pa.array(np.cumsum(present) - 1, mask=~present)
        arrays = [pa.array(columns[field.name], field.type).take(places) for field in self.fields]
        return pa.Table.from_arrays(arrays, schema=pa.schema(self.fields))


def micro_batches(pieces: Sequence[Piece], batch_size: int) -> Iterator[Sequence[Piece]]:
    """Pieces of one size, at most so many at a time; short ones first, and those of like length together."""
    ordered = sorted(pieces, key=lambda piece: (piece.size, len(piece.content)))
    for _, group in groupby(ordered, key=lambda piece: piece.size):
        alike = list(group)
        for start in range(0, len(alike), batch_size):
            yield alike[start : start + batch_size]


def _noted(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The rows of these numbers noted as cut, for the ledger."""
    if not len(rows):
        return table
    remark = {
        "reason": CUT,
        "detail": "the model had written max_new_tokens, and was not at an end",
        "setting": SETTING,
    }
    remarks = table[REMARKS].to_pylist()
    for row in rows.tolist():
        remarks[row] = [*(remarks[row] or ()), remark]
    place = table.column_names.index(REMARKS)
    return table.set_column(place, REMARKS, pa.array(remarks, pa.list_(ERROR_TYPE)))
