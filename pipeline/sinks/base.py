"""What a sink does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.shards.planning.plan import Part
from pipeline.sinks.ledger import PartResult
from pipeline.sinks.records import Record


class Sink(Protocol):
    """Where rows go. Picklable: ``write`` is called on the workers, the rest on the driver."""

    def check(self, parts: Sequence[Part] | None = None) -> None:
        """Refuses what must not be written to this output; changes nothing.

        Args:
            parts: All of the input; None where the job follows its input wherever it leads.

        Raises:
            ConfigError: The output was made by another model, with other settings, or from another input.
        """

    def begin(self, parts: Sequence[Part] | None = None, *, adds: bool = False) -> None:
        """Makes the output ready, and clears away what an interrupted job left.

        Args:
            parts: See :meth:`check`.
            adds: Only adds to what is done, so that the input of the output stays what it is.

        Raises:
            ConfigError: See :meth:`check`.
            SinkError: The output cannot be written.
        """

    def done(self, parts: Sequence[Part]) -> set[str]:
        """Identities of those parts that need not be done again."""

    def retries(self, parts: Sequence[Part]) -> list[Part]:
        """Of the parts that are done, those with bad samples, reduced to these."""

    def write(self, table: pa.Table) -> PartResult:
        """Writes all rows of one part, whole or not at all; writing a part twice changes nothing."""

    def recorded(self) -> list[Record]:
        """The records of the parts that readers see; none where none is kept."""

    def commit(
        self,
        parts: Sequence[Part],
        keep: Sequence[str] = (),
        pending: Collection[str] = (),
        each: Callable[..., Iterable[Any]] = map,
    ) -> None:
        """Publishes the new snapshot.

        Args:
            parts: Those of the input that it is to hold, all of them done.
            keep: Identities of parts that the input has no more, and whose rows stay.
            pending: Identities of parts that are not to be seen yet; what is done of them stays done.
            each: As ``map``: applies a picklable function to each of many things, here or on other nodes.
        """

    def recorded_statistics(self, ids: Sequence[str]) -> Iterator[Sums]:
        """The sums of parts that were done before; none where nothing is remembered."""

    def recorded_results(self, ids: Collection[str]) -> Iterator[PartResult]:
        """The ledgers of parts that are done and not published yet; none where nothing is remembered."""
