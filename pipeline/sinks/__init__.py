"""Sinks write what a job makes; the union of their configurations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.modalities.base import Section


class ParquetConfig(Section):
    """Plain Parquet files that any reader opens."""

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


class NoneConfig(Section):
    """Decodes everything and writes nothing but the summary, for measuring."""

    kind: Literal["none"] = "none"


SinkConfig = Annotated[ParquetConfig | NoneConfig, Field(discriminator="kind")]
