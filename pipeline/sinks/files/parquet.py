"""How tables lie in Parquet files: sizes of row groups, encoding and compression of each column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import in_words
from pipeline.sinks.files.base import damaged

ROW_GROUP_MB = 32


@dataclass(frozen=True)
class ParquetFiles:
    """Rows in Parquet; see :class:`pipeline.sinks.files.base.RowFiles`.

    Attributes:
        row_group_mb: About how large a row group is in memory, in MB.
    """

    suffix: ClassVar[str] = ".parquet"
    row_group_mb: int = ROW_GROUP_MB

    def write(self, file: Any, tables: Iterable[pa.Table]) -> None:
        """Writes tables; see :func:`write_tables`."""
        write_tables(file, tables, self.row_group_mb << 20)

    def check(self, file: IO[bytes], rows: int) -> None:
        """Opens the file, and counts what its footer says."""
        try:
            num_rows = pq.ParquetFile(file).metadata.num_rows
        except pa.ArrowInvalid as error:
            raise damaged(f"cannot be read: {in_words(error)}") from error
        if num_rows != rows:
            raise damaged(f"has {num_rows} rows instead of {rows}")

    def read(self, url: str) -> pa.Table:
        """All rows, mapped where the file is local."""
        if storage.is_local(url):
            return pq.ParquetFile(storage.local_path(url), memory_map=True).read()
        return pq.ParquetFile(pa.BufferReader(storage.read_bytes(url))).read()


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
