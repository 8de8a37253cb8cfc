"""A sink that counts and keeps nothing, for measuring."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from pipeline.shards.plan import Part
from pipeline.sinks.base import PartResult, ledger


class NoneSink:
    """Counts rows."""

    def begin(self) -> None:
        """Nothing is to be made ready."""

    def done(self, parts: Sequence[Part]) -> set[str]:
        """None: nothing is remembered."""
        return set()

    def write(self, table: pa.Table) -> PartResult:
        """Counts the rows of one part."""
        return ledger(table)

    def commit(self, parts: Sequence[Part]) -> None:
        """Nothing is to be published."""
