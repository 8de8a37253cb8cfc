"""Sinks write what a job makes; the union of their configurations, each of which builds its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.modalities.section import Section
from pipeline.sinks.snapshots.settings import SnapshotSettings

if TYPE_CHECKING:
    from pipeline.sinks.base import Sink
    from pipeline.sinks.files.base import RowFiles
    from pipeline.sinks.output import Output


class ParquetConfig(SnapshotSettings):
    """Plain Parquet files that any reader opens."""

    keeps_rows: ClassVar[bool] = True
    copies_members: ClassVar[bool] = False
    identity: ClassVar[Mapping[str, str]] = {}

    kind: Literal["parquet"] = "parquet"
    row_group_mb: int = Field(default=32, ge=1, le=1024, description="size of a row group, in MB")

    @property
    def files(self) -> RowFiles:
        from pipeline.sinks.files.parquet import ParquetFiles

        return ParquetFiles(self.row_group_mb)

    def build(self, output: Output) -> Sink:
        """The sink that writes an output."""
        from pipeline.sinks.parquet import ParquetSink

        return ParquetSink.of(output, self)


class WebDatasetConfig(SnapshotSettings):
    """Tar shards that a next job reads: each sample's own members, and beside them what was made of it."""

    MIXES_SHARDS = False  # two shards may have a key in common

    keeps_rows: ClassVar[bool] = True
    copies_members: ClassVar[bool] = True
    identity: ClassVar[Mapping[str, str]] = {"sink": "webdataset"}

    kind: Literal["webdataset"] = "webdataset"

    @property
    def files(self) -> RowFiles:
        from pipeline.sinks.files.tar import TarFiles

        return TarFiles()

    def build(self, output: Output) -> Sink:
        """The sink that writes an output."""
        from pipeline.sinks.webdataset import WebDatasetSink

        return WebDatasetSink.of(output, self)


class NoneConfig(Section):
    """Decodes everything and writes nothing but the summary, for measuring."""

    keeps_rows: ClassVar[bool] = False
    copies_members: ClassVar[bool] = False
    identity: ClassVar[Mapping[str, str]] = {}

    kind: Literal["none"] = "none"

    def build(self, output: Output) -> Sink:
        """The sink that counts rows, and measures them where an output keeps that."""
        from pipeline.sinks.none import NoneSink

        return NoneSink(output.measure if output.keep_statistics else None)


# Of each: `keeps_rows`, whether there is something to go on with later; `copies_members`, whether it writes the members
# of samples beside what was made, which only shards have; `identity`, what the rows depend on beside what was made.
SinkConfig = Annotated[ParquetConfig | WebDatasetConfig | NoneConfig, Field(discriminator="kind")]
