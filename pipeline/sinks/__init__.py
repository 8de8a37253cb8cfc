"""Sinks write what a job makes; the union of their configurations, each of which builds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.modalities.section import Section
from pipeline.sinks.settings import ParquetSettings

if TYPE_CHECKING:
    from pipeline.sinks.base import Sink
    from pipeline.sinks.output import Output


class ParquetConfig(ParquetSettings):
    """Plain Parquet files that any reader opens."""

    keeps_rows: ClassVar[bool] = True

    def build(self, output: Output) -> Sink:
        """The sink that writes an output."""
        from pipeline.sinks.parquet import ParquetSink

        return ParquetSink.of(output, self)


class NoneConfig(Section):
    """Decodes everything and writes nothing but the summary, for measuring."""

    kind: Literal["none"] = "none"
    keeps_rows: ClassVar[bool] = False

    def build(self, output: Output) -> Sink:
        """The sink that counts rows, and measures them where an output keeps that."""
        from pipeline.sinks.none import NoneSink

        return NoneSink(output.measure if output.keep_statistics else None)


SinkConfig = Annotated[ParquetConfig | NoneConfig, Field(discriminator="kind")]
