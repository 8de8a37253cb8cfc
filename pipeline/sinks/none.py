"""A sink that counts and keeps nothing, for measuring."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.shards.planning.plan import Part
from pipeline.sinks.ledger import PartResult, ledger
from pipeline.sinks.records import Record


@dataclass(frozen=True)
class NoneSink:
    """Counts rows.

    Attributes:
        measure: Measures each part; None where no statistics are wanted.
    """

    measure: Callable[[pa.Table], Sums] | None = None

    def check(self, parts: Sequence[Part] | None = None) -> None:
        """Nothing is remembered."""

    def begin(self, parts: Sequence[Part] | None = None, *, adds: bool = False) -> None:
        """Nothing is to be made ready."""

    def done(self, parts: Sequence[Part]) -> set[str]:
        """None: nothing is remembered."""
        return set()

    def retries(self, parts: Sequence[Part]) -> list[Part]:
        """None: nothing is remembered."""
        return []

    def write(self, table: pa.Table) -> PartResult:
        """Counts the rows of one part."""
        result = ledger(table)
        return replace(result, statistics=self.measure(table)) if self.measure else result

    def recorded(self) -> list[Record]:
        """None: nothing is remembered."""
        return []

    def commit(
        self,
        parts: Sequence[Part],
        keep: Sequence[str] = (),
        pending: Collection[str] = (),
        each: Callable[..., Iterable[Any]] = map,
    ) -> None:
        """Nothing is to be published."""

    def recorded_statistics(self, ids: Sequence[str]) -> Iterator[Sums]:
        """None: nothing is remembered."""
        return iter(())

    def recorded_results(self, ids: Collection[str]) -> Iterator[PartResult]:
        """None: nothing is remembered."""
        return iter(())
