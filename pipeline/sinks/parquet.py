"""Rows of predictions or decoded samples as plain Parquet."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipeline.modalities.decoding.decoder import METADATA_PREFIX
from pipeline.sample import KEY, MODALITIES, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.sinks.file_sink import FileSink


@dataclass(frozen=True)
class ParquetSink(FileSink):
    """Writes Parquet files that any reader opens."""

    def rows(self, good: pa.Table, part: Part) -> pa.Table:
        """``key``, ``shard``, ``modalities``, the columns of the output, and the metadata."""
        good = good.sort_by([(name, "ascending") for name in self.order])
        metadata = [name for name in good.column_names if name.startswith(METADATA_PREFIX)]
        picked = good.select([KEY, SHARD, MODALITIES, *self.columns, *metadata])
        names = [name.removeprefix(METADATA_PREFIX) for name in picked.column_names]
        return picked.rename_columns(names).replace_schema_metadata(dict(self.footer))
