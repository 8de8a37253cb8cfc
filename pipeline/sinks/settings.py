"""How Parquet files are written: their sizes, and what is kept of earlier ones."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.modalities.section import Section


class ParquetSettings(Section):
    """Of Parquet files that readers see, and of those that they may still be at."""

    kind: Literal["parquet"] = "parquet"
    file_mb: int = Field(default=256, ge=1, le=4096, description="size of the files, in MB")
    min_file_mb: int = Field(
        default=16, ge=1, le=4096, description="parts that are larger are not merged with others"
    )
    row_group_mb: int = Field(default=32, ge=1, le=1024, description="size of a row group, in MB")
    keep_snapshots: int = Field(
        default=1, ge=0, description="earlier snapshots that stay in _snapshots"
    )
    grace_seconds: float = Field(
        default=3600,
        ge=0,
        description="that files of an object store stay after no manifest lists them any more",
    )
