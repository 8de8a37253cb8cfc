"""What has arrived, changed or gone since the rows of an output were written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.shards.planning.plan import Part


class DonePart(Protocol):
    """A part that an output has rows of (:class:`pipeline.sinks.records.Record`)."""

    @property
    def part(self) -> str:
        """Identity of the part."""

    @property
    def shard(self) -> str:
        """Its shard."""


@dataclass(frozen=True)
class Inventory:
    """The shards of an input, held against those that an output has rows of.

    Attributes:
        new: Names of shards that the output knows nothing of.
        changed: Those whose content is another than the one that the rows are from.
        deleted: Those that are not in the input any more.
        unchanged: Those that need nothing.
        rows: Shard -> identities of the parts that the output has of it.
    """

    new: frozenset[str]
    changed: frozenset[str]
    deleted: frozenset[str]
    unchanged: frozenset[str]
    rows: Mapping[str, frozenset[str]]

    @classmethod
    def take(cls, parts: Iterable[Part], records: Iterable[DonePart]) -> Inventory:
        """Compares.

        Args:
            parts: Of the input.
            records: Of the parts that the output has.
        """
        present: dict[str, set[str]] = {}
        for part in parts:
            present.setdefault(part.shard, set()).add(part.id)
        rows: dict[str, set[str]] = {}
        for record in records:
            rows.setdefault(record.shard, set()).add(record.part)
        both = present.keys() & rows.keys()
        # A night that stopped early has some of a shard's parts: no change, but more to do.
        changed = frozenset(name for name in both if not rows[name] <= present[name])
        return cls(
            new=frozenset(present.keys() - rows.keys()),
            changed=changed,
            deleted=frozenset(rows.keys() - present.keys()),
            unchanged=frozenset(both - changed),
            rows={name: frozenset(ids) for name, ids in rows.items()},
        )

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {
            name: len(getattr(self, name)) for name in ("new", "changed", "deleted", "unchanged")
        }

    def held(self, parts: Iterable[Part], done: Collection[str]) -> frozenset[str]:
        """Changed shards that are not done yet: until they are, their rows of before stay.

        Args:
            parts: Of the input.
            done: Identities of those that are done.
        """
        return frozenset(part.shard for part in parts if part.id not in done) & self.changed

    def rows_of(self, shards: Iterable[str]) -> list[str]:
        """Identities of the parts that the output has of some shards."""
        return sorted(part for name in shards for part in self.rows[name])
