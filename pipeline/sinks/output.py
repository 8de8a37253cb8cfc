"""An output as a job describes it: all that a sink is told besides its own settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.sample import KEY, ORDINAL
from pipeline.sinks.origin import Origin
from pipeline.sinks.provenance import Provenance


@dataclass(frozen=True)
class Output:
    """One output folder; the attributes are those of :class:`pipeline.sinks.parquet.ParquetSink`."""

    folder: str
    identity: Mapping[str, object]
    footer: Mapping[str, str]
    columns: tuple[str, ...]
    order: tuple[str, ...] = (KEY, ORDINAL)
    measure: Callable[[pa.Table], Sums] | None = None
    keep_statistics: bool = False
    partition: str = ""
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    origin: Origin | None = None
    replace: bool = False
    replacing: str = ""
    remedy: str = "choose another output folder, or remove this one"

    @property
    def provenance(self) -> Provenance:
        """What the job makes it from."""
        return Provenance(
            self.folder, self.identity, self.origin, self.replace, self.replacing, self.remedy
        )
