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
    """One output folder.

    Attributes:
        folder: Where it lies.
        identity: What the rows depend on: model, preprocessing, format. Another identity on the same output is refused.
        footer: Key/value metadata of every data file.
        columns: Data columns after ``key``, ``shard`` and ``modalities``, in order; the metadata follows them.
        order: What the rows of a part are sorted by.
        measure: Sums up each part into its record; None where no statistics are wanted.
        keep_statistics: Whether those sums stay when the part is published.
        partition: Folder in the output that new rows go to; see :class:`pipeline.sinks.snapshots.snapshot.Snapshot`.
        attachments: File name -> content of what lies beside the identity.
        origin: The input; another one on the same output is refused. None where any may come.
        replace: Whether rows of another identity or input go when those of this one are published.
        replacing: The setting that says so.
        remedy: What else one can do whose settings or input are others than those of the rows that are there.
    """

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
