"""Embeds with a pretrained encoder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.modalities import pretrained
from pipeline.modalities.pretrained.base import EMBEDDING, EncoderDescription
from pipeline.modalities.pretrained.towers import Tower
from pipeline.prediction.ahead import ahead
from pipeline.prediction.columns import good_rows, with_columns
from pipeline.prediction.execution import Execution
from pipeline.prediction.spec import ModelSpec, encoder_of

# Rows that micro-batches are padded to a multiple of, where a row too many costs time. With other numbers of rows the
# last digits depend on the number of threads (seen in a small CLIP).
CPU_MULTIPLE = 8

Inputs = tuple[Tensor, ...]


class EncoderPredictor:
    """Blocks of decoded samples in, the same rows with embeddings in place of their modalities out.

    Each modality is encoded on its own, where a sample has it. Micro-batches never cross blocks, so that rows are the
    same however many actors there are. On a GPU all have one shape (the last row fills up the last of them) and are
    copied there while the one before is computed.

    Args:
        spec: Names the encoder and its weights.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.execution = Execution(spec)
        on_gpu = self.execution.device.type == "cuda"
        if not on_gpu:
            # Threads of a tokenizer's own would take the time of the network, and of decoding.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.encoder: EncoderDescription = encoder_of(spec)
        self.batch_size = spec.batch_size
        self.multiple = spec.batch_size
        if not self.execution.one_shape:
            self.multiple = min(CPU_MULTIPLE, spec.batch_size)
        self.codecs = self.encoder.inputs
        self.fields = self.encoder.fields(float16=spec.float16)
        loaded = pretrained.load(self.encoder)
        self.towers = {name: self.execution.ready(tower) for name, tower in loaded.items()}
        self.encode = {name: self.execution.runner(tower) for name, tower in self.towers.items()}
        for tower in self.towers.values():
            tower.pinned = on_gpu

    def __call__(self, table: pa.Table) -> pa.Table:
        """Embeds the good rows of a block; bad rows pass with nulls."""
        good = table.filter(pa.array(good_rows(table)))
        embedded = self._columns(good) if good.num_rows else None
        return with_columns(table, self.codecs, self.fields, embedded)

    def _columns(self, table: pa.Table) -> pa.Table:
        """The columns of good rows."""
        shared = self.encoder.shared
        columns: dict[str, np.ndarray] = {}
        present: dict[str, np.ndarray] = {}
        for name, tower in self.towers.items():
            column = table[name].combine_chunks()
            present[name] = valid = np.asarray(column.is_valid())
            columns[name] = np.zeros((table.num_rows, self.encoder.width), dtype=np.float32)
            if valid.any():
                embedded = self._embed(name, tower, column.drop_null())
                columns[name][valid] = unit(embedded) if shared else embedded
        if not shared:
            [(name, embedding)] = columns.items()
            return self._table({EMBEDDING: embedding}, {EMBEDDING: present[name]})
        together = {f"{name}_{EMBEDDING}": values for name, values in columns.items()}
        # Where a modality is missing there are zeros, so that the sum's direction is that of the mean of the others.
        together[EMBEDDING] = unit(np.sum(list(columns.values()), axis=0))
        masks = {f"{name}_{EMBEDDING}": valid for name, valid in present.items()}
        masks[EMBEDDING] = np.any(list(present.values()), axis=0)
        return self._table(together, masks)

    def _table(self, columns: dict[str, np.ndarray], present: dict[str, np.ndarray]) -> pa.Table:
        arrays = []
        for field in self.fields:
            values = columns[field.name].astype(field.type.value_type.to_pandas_dtype())
            mask = None if present[field.name].all() else pa.array(~present[field.name])
            flat = pa.array(values.reshape(-1))
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type, mask=mask))
        return pa.Table.from_arrays(arrays, schema=pa.schema(self.fields))

    def _embed(self, name: str, tower: Tower, column: pa.Array) -> np.ndarray:
        """(B, D) float32 of a column without nulls."""
        order = tower.order(column)
        if order is not None:
            column = column.take(pa.array(order))
        encode = self.encode[name]
        batches = ahead(self._micro_batches(tower, column), self.execution.device)
        embeddings = [encode(*inputs)[:count].float() for count, inputs in batches]
        embedded: np.ndarray = torch.cat(embeddings).cpu().numpy()
        if order is not None:
            embedded[order] = embedded.copy()
        if not np.isfinite(embedded).all():
            raise ModelError(
                f"the network made numbers of {name} that are not finite",
                where=self.encoder.model,
                fix="set infer.precision=float32, or check the weights",
            )
        return embedded

    def _micro_batches(self, tower: Tower, column: pa.Array) -> Iterator[tuple[int, Inputs]]:
        """Rows that count, and inputs, padded with the last row."""
        for start in range(0, len(column), self.batch_size):
            rows = column.slice(start, self.batch_size)
            count = len(rows)
            missing = -count % self.multiple
            if missing:
                rows = pa.concat_arrays([rows, *[rows.slice(count - 1, 1)] * missing])
            yield count, tower.prepare(rows)


def unit(values: np.ndarray) -> np.ndarray:
    """(B, D) float32, each row of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: np.ndarray = values / np.where(lengths > 0, lengths, 1)
    return scaled.astype(np.float32)
