"""What frozen networks make of samples, computed once: it stays in place of the samples' values for all epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline import pulse
from pipeline.modalities.base import Codec, Dense
from pipeline.modalities.codecs import dense_column, dense_to_column
from pipeline.modalities.facets import Frozen
from pipeline.models.batch import Collates, content_of, one_chunk, row_digests, to_tensors, writable


class FrozenFeatures:
    """Puts embeddings in place of the values of some modalities, each sample's computed in evaluation mode.

    Args:
        encoders: Modality -> its network, on ``device``.
        codecs: Modality -> its codec.
        device: Where embeddings are computed.
        batch_size: Samples that are computed together.
        precision: Of matrix products of the training split; those of other splits are in float32, as validation is.
    """

    def __init__(
        self,
        encoders: Mapping[str, Frozen],
        codecs: Mapping[str, Codec],
        device: torch.device,
        batch_size: int,
        precision: torch.dtype,
    ) -> None:
        self._encoders, self._codecs = encoders, codecs
        self._device, self._batch_size, self._precision = device, batch_size, precision

    def __call__(self, table: pa.Table, split: str) -> pa.Table:
        """A part's table with embeddings.

        Args:
            table: Of good samples; null where one lacks the modality.
            split: Which the part is of.

        Returns:
            The table with lists of D' float32 in place of the values, and ``NAME.content``, digests of these.
        """
        precision = self._precision if split == "train" else torch.float32
        for name in self._encoders:
            embeddings, contents = self._embedded(name, one_chunk(table[name]), precision)
            table = table.set_column(table.schema.get_field_index(name), name, embeddings)
            table = table.append_column(content_of(name), contents)
        return _compact(table)

    def _embedded(
        self, name: str, column: pa.Array, precision: torch.dtype
    ) -> tuple[pa.Array, pa.Array]:
        """Embeddings and digests of B values; only of those that are there."""
        present = np.asarray(column.is_valid())
        values = column.drop_null()
        embeddings = np.zeros((len(column), self._encoders[name].embedding_width), np.float32)
        contents = np.zeros(len(column), np.int64)
        places = np.flatnonzero(present)
        for start in range(0, len(values), self._batch_size):
            dense = self._codecs[name].collate(values.slice(start, self._batch_size))
            rows = places[start : start + self._batch_size]
            embeddings[rows] = self._embed(name, dense.values, precision)
            contents[rows] = row_digests(*dense)
            pulse.beat()
        field = pa.field(name, pa.list_(pa.float32(), embeddings.shape[1]))
        return dense_to_column(embeddings, ~present, field), pa.array(contents)

    @torch.inference_mode()
    def _embed(self, name: str, values: np.ndarray, precision: torch.dtype) -> np.ndarray:
        tensor = torch.from_numpy(writable(values)).to(self._device)
        reduced = precision != torch.float32
        with torch.autocast(self._device.type, precision, enabled=reduced):
            embedding = self._encoders[name].embed(tensor)
        array: np.ndarray = embedding.float().cpu().numpy()
        return array


def _compact(table: pa.Table) -> pa.Table:
    """A copy that holds its own columns alone: those of a table that came in one buffer keep all of that in memory."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_stream(buffer.getvalue()).read_all()


class _Embeddings:
    """A column of embeddings -> float32 (B, D')."""

    def collate(self, column: pa.Array) -> Dense:
        return dense_column(column, (column.type.list_size,))


def collated(
    table: pa.Table, codecs: Mapping[str, Codec], embedded: Sequence[str]
) -> dict[str, Tensor]:
    """The tensors of a batch, some modalities of which are embeddings.

    Args:
        table: B rows.
        codecs: Modality -> codec.
        embedded: Modalities whose columns :class:`FrozenFeatures` has made.
    """
    collates: dict[str, Collates] = {**codecs, **dict.fromkeys(embedded, _Embeddings())}
    contents = {
        content_of(name): torch.from_numpy(writable(table[content_of(name)].to_numpy()))
        for name in embedded
    }
    return to_tensors(table, collates) | contents
