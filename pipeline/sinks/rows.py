"""The rows that a job wrote, one at a time, as a person or a notebook looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.modalities.decoding.decoded import open_parquet
from pipeline.sinks.snapshots.manifest import read_manifest

BATCH_ROWS = 64


def written_rows(output: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, object]]:
    """Reads the rows of a job's output, those that its manifest lists, a few at a time.

    Args:
        output: Folder or URL that ``preprocess`` or ``infer`` wrote.
        columns: Names of columns; all by default.

    Yields:
        Column -> value: strings and numbers as they are, lists of numbers as arrays of their own dtype and shape (an
        image (H, W, 3) uint8, a spectrogram (F, T) float16, tokens (L,) int32, an embedding (D,) float32), and None
        where a row has none. pandas, given the files themselves, makes float64 of such a column once a row is null.

    Raises:
        ConfigError: No job has written there.
        InputError: A file cannot be read.
    """
    manifest = read_manifest(output)
    if manifest is None:
        raise ConfigError(
            "no job has written here",
            where=output,
            fix="name the folder that preprocess or infer wrote, such as RUN/decoded",
        )
    for file_name in (file.name for file in manifest.files):
        file = open_parquet(storage.join(output, file_name))
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            values = [list(_values(batch.column(i), field)) for i, field in enumerate(batch.schema)]
            for row in zip(*values, strict=True):
                yield dict(zip(batch.schema.names, row, strict=True))


def _values(column: pa.Array, field: pa.Field) -> Iterator[object]:
    kind = field.type
    is_list = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not _is_number(kind.value_type):
        yield from column.to_pylist()
        return
    shape = (field.metadata or {}).get(b"shape")
    for scalar in column:
        if not scalar.is_valid:
            yield None
            continue
        values = scalar.values.to_numpy(zero_copy_only=False)
        yield values.reshape(tuple(map(int, shape.split(b",")))) if shape else np.array(values)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
