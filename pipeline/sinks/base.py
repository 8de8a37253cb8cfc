"""What a sink does, and what it says of a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipeline.errors import RunError
from pipeline.sample import ERROR, KEY, PART, PART_ROWS, SHARD
from pipeline.shards.plan import Part


@dataclass(frozen=True, slots=True)
class PartResult:
    """The ledger of one part.

    Attributes:
        part: Identity of the part.
        shard: Its shard.
        written: Samples in the output.
        quarantined: Samples in the quarantine.
        damages: Damages of the shard itself.
        statistics: The part's sums (:mod:`pipeline.metrics.statistics`), where the sink measures.
    """

    part: str
    shard: str
    written: int
    quarantined: int
    damages: int
    statistics: Mapping[str, Any] | None = None


class Sink(Protocol):
    """Where rows go. Picklable: ``write`` is called on the workers, the rest on the driver."""

    def begin(self) -> None:
        """Makes the output ready, and clears away what an interrupted job left.

        Raises:
            ConfigError: The output belongs to another model or configuration.
            SinkError: The output cannot be written.
        """

    def done(self, parts: Sequence[Part]) -> set[str]:
        """Identities of those parts that need not be done again."""

    def write(self, table: pa.Table) -> PartResult:
        """Writes all rows of one part, whole or not at all; writing a part twice changes nothing."""

    def commit(self, parts: Sequence[Part]) -> None:
        """Publishes the parts as the new snapshot."""

    def recorded_statistics(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """The sums of parts that were done before; none where nothing is remembered."""


def ledger(table: pa.Table) -> PartResult:
    """Counts a part's rows, and asserts that they are those that the reader made.

    Raises:
        RunError: Rows were lost or doubled on the way, which is a bug.
    """
    parts, rows = table[PART].unique().to_pylist(), table[PART_ROWS].unique().to_pylist()
    if len(parts) != 1 or rows != [table.num_rows]:
        raise RunError(
            f"a block of {table.num_rows} rows should hold {rows} rows of one part, and holds {len(parts)} parts",
            where=str(table[SHARD][0]) if table.num_rows else "",
            fix="this is a bug: report it with the log",
        )
    bad = table[ERROR].is_valid()
    keyed = table[KEY].is_valid()
    num_bad, num_damages = bad.to_numpy().sum(), (~keyed.to_numpy()).sum()
    part = Part.from_json(parts[0])
    return PartResult(
        part=part.id,
        shard=part.shard,
        written=int(table.num_rows - num_bad),
        quarantined=int(num_bad - num_damages),
        damages=int(num_damages),
    )
