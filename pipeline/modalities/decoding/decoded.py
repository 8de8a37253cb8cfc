"""Decoded samples that preprocess wrote -> the table that decoding them again would give."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import SampleError
from pipeline.modalities.codecs import missing_are_null
from pipeline.modalities.decoding.decoder import METADATA_PREFIX, Decoder
from pipeline.modalities.decoding.targets import Target
from pipeline.sample import (
    DROPPED,
    ERROR,
    ERROR_TYPE,
    KEY,
    LABEL,
    MODALITIES,
    ORDINAL,
    PART,
    PART_ROWS,
    PART_SAMPLES,
    PART_STRAYS,
    REMARKS,
    SHARD,
)

SUFFIX = ".parquet"


def open_parquet(url: str, *, buffer_bytes: int = 0) -> pq.ParquetFile:
    """Opens a Parquet file for reads of single row groups: mapped into memory where local.

    Args:
        url: Where it lies.
        buffer_bytes: Of a column of a local file that is read at a time instead, so that a walk through a large row
            group holds no more of it.

    Raises:
        InputError: The file is not there, or cannot be reached.
        pa.ArrowInvalid: It is not a Parquet file.
    """
    source = storage.open_source(url)
    if not storage.is_local(url):
        return pq.ParquetFile(pa.PythonFile(_File(source), mode="r"))
    source.close()  # it only said, in our words, where there is no such file
    if buffer_bytes:
        return pq.ParquetFile(storage.local_path(url), buffer_size=buffer_bytes, pre_buffer=False)
    return pq.ParquetFile(storage.local_path(url), memory_map=True)


def read_decoded(
    url: str, start: int, end: int, first_ordinal: int, part: str, decoder: Decoder
) -> pa.Table:
    """Reads rows that were decoded before.

    Args:
        url: A Parquet file of preprocess.
        start: First row.
        end: Just after the last row.
        first_ordinal: Ordinal of the first row; the rows of another shard count from 0.
        part: The part as JSON, carried along in every row.
        decoder: What would decode the samples; its settings must be those of the file.

    Returns:
        A table of ``decoder.schema``. A row that has none of the decoder's modalities, or a label that it refuses, is
        bad, with the reason that decoding would give.
    """
    label = [LABEL] if decoder.target else []
    columns = [KEY, SHARD, *label, *decoder.codecs, *decoder.metadata]
    table = read_rows(url, start, end, columns)
    arrays = {name: _whole(table[name]) for name in columns}
    for name, codec in decoder.codecs.items():
        arrays[name] = _values(arrays[name], codec.column)
    present = {name: np.asarray(arrays[name].is_valid()) for name in decoder.codecs}
    refused: dict[int, SampleError] = {}
    if decoder.target is not None:
        arrays[LABEL], refused = _accepted(arrays[LABEL], decoder.target, decoder.target_optional)
    errors = _errors(refused, present)
    good = np.array([error is None for error in errors], dtype=bool)
    rows = {
        KEY: arrays[KEY],
        SHARD: arrays[SHARD],
        ORDINAL: _ordinals(arrays[SHARD], first_ordinal),
        PART: pa.array([part] * len(good), pa.string()),
        # What the file is to hold, by its footer, whatever rows came of it.
        **{name: _same(end - start, len(good)) for name in (PART_ROWS, PART_SAMPLES)},
        PART_STRAYS: _same(0, len(good)),
        MODALITIES: _modalities({name: valid & good for name, valid in present.items()}),
        LABEL: _where(good, arrays.get(LABEL, pa.nulls(len(good), pa.string()))),
        ERROR: pa.array(errors, ERROR_TYPE),
        # What was odd about them is in the quarantine of the job that decoded them.
        **dict.fromkeys((DROPPED, REMARKS), pa.array([[]] * len(good), pa.list_(ERROR_TYPE))),
        **{METADATA_PREFIX + name: _where(good, arrays[name]) for name in decoder.metadata},
        **{name: _where(good, arrays[name]) for name in decoder.codecs},
    }
    schema = decoder.schema
    return pa.Table.from_arrays([rows[name] for name in schema.names], schema=schema)


def read_rows(url: str, start: int, end: int, columns: Sequence[str]) -> pa.Table:
    """Some rows of some columns; only the row groups they lie in are read."""
    file = open_parquet(url)
    groups: list[int] = []
    before = first = 0
    for index in range(file.num_row_groups):
        count = file.metadata.row_group(index).num_rows
        if before < end and before + count > start:
            first = first if groups else before
            groups.append(index)
        before += count
    # Without threads: as many of these run at a time as there are cores.
    table: pa.Table = file.read_row_groups(groups, columns=list(columns), use_threads=False)
    return table.slice(start - first, end - start)


def _same(count: int, num_rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(count, pa.int32()), num_rows)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _values(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column as its codec makes it: zeros where there is no value, where Parquet's reader leaves nulls."""
    kind = field.type
    if not pa.types.is_fixed_size_list(kind):
        return column.cast(kind)
    size = kind.list_size
    flat = column.values.slice(column.offset * size, len(column) * size)
    if not missing_are_null(field):
        flat = flat.fill_null(0)
    mask = column.is_null() if column.null_count else None
    return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=mask)


def _errors(
    refused: Mapping[int, SampleError], present: dict[str, np.ndarray]
) -> list[dict[str, Any] | None]:
    """Why rows cannot be used, as :meth:`Decoder.check` says it of samples; None for those that can."""
    usable = np.logical_or.reduce(list(present.values()))
    errors: list[dict[str, Any] | None] = []
    for row, some in enumerate(usable.tolist()):
        error = refused.get(row)
        if error is None and not some:
            what = f"none of {', '.join(present)}"
            error = SampleError(what, reason="no_modality", setting="modalities")
        errors.append(None if error is None else _row(error))
    return errors


def _accepted(
    column: pa.Array, target: Target, optional: bool
) -> tuple[pa.Array, dict[int, SampleError]]:
    """Targets as they would be read now, and row -> why those are refused that are."""
    refused: dict[int, SampleError] = {}
    texts: list[str | None] = []
    for row, text in enumerate(column.to_pylist()):
        try:
            texts.append(None if text is None and optional else target.accept(text))
        except SampleError as error:
            refused[row] = error
            texts.append(None)
    return pa.array(texts, pa.string()), refused


def _row(error: SampleError) -> dict[str, Any]:
    return {
        "field": error.field or None,
        "reason": error.reason,
        "detail": error.what,
        "setting": error.setting or None,
    }


def _ordinals(shards: pa.Array, first: int) -> pa.Array:
    """Positions of the rows: from ``first`` on, and from 0 on where another shard begins."""
    codes = shards.dictionary_encode().indices.to_numpy()
    begins = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    runs = [np.arange(end - start) for start, end in itertools.pairwise(begins)]
    runs[0] = runs[0] + first
    return pa.array(np.concatenate(runs), pa.int64())


def _modalities(present: dict[str, np.ndarray]) -> pa.Array:
    names = list(present)
    rows = np.stack([present[name] for name in names], axis=1).tolist()
    lists = [[name for name, valid in zip(names, row, strict=True) if valid] for row in rows]
    return pa.array(lists, pa.list_(pa.string()))


def _where(good: np.ndarray, column: pa.Array) -> pa.Array:
    """The column, null where a row is not good."""
    if good.all():
        return column
    return column.take(pa.array(np.arange(len(column)), mask=~good))


class _File(io.RawIOBase):
    """A byte source as the file object that pyarrow reads."""

    def __init__(self, source: storage.ByteSource) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}
        self._position = starts[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
