"""The samples of a part in their order, and what their keys have against them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from pipeline.sample import Fault, Source
from pipeline.shards.planning.key_order import KeyOrder
from pipeline.shards.planning.plan import Part
from pipeline.shards.tar.grouping import Group

DUPLICATE, INTERLEAVED = "duplicate_key", "interleaved"
REPEATS = {
    DUPLICATE: "an earlier sample of this shard has the same key",
    INTERLEAVED: "this key comes again in the shard, with other fields: the members of a sample must lie side by side; "
    "sort them by name, as tar --sort=name does",
}


class SampleOrder:
    """Numbers the samples of a part, and judges their keys by what planning has found and by what is read.

    Planning has seen all of a shard that it has cut; of one that it has not opened, the part is the whole. What is read
    is a judge only from the shard's first byte on: further in, the first sample of a key is not its first in the shard.

    Args:
        part: Which.
    """

    def __init__(self, part: Part) -> None:
        self.ordinal = part.first_ordinal
        self._shard = part.shard
        self._duplicates = frozenset(part.duplicates)
        self._interleaved = list(reversed(part.interleaved))  # those that are still ahead
        self._keys = KeyOrder() if part.start == 0 else None
        self._headers, self._sizes = array("q"), array("q")
        self._told: set[int] = set()

    def add(self, group: Group) -> str:
        """Adds the next sample; says what its key has against it, a word of ``REPEATS``, or nothing."""
        ordinal = self.ordinal
        self.ordinal += 1
        header = group.members[0][1].header
        again, interleaved = ordinal in self._duplicates, self._is_interleaved(ordinal)
        if self._keys is not None:
            self._headers.append(header)
            self._sizes.append(group.members[-1][1].end - header)
            if not group.fields:
                self._keys.pass_over()
                return ""
            again |= self._keys.add(group.key, group.fields)
            interleaved |= self._keys.is_interleaved(group.key)
        if interleaved:
            self._told.add(ordinal)
            return INTERLEAVED
        return DUPLICATE if again else ""

    def _is_interleaved(self, ordinal: int) -> bool:
        while self._interleaved and self._interleaved[-1][1] <= ordinal:
            self._interleaved.pop()
        return bool(self._interleaved) and self._interleaved[-1][0] <= ordinal

    def amendments(self) -> Iterator[Fault]:
        """At the end: the samples of which nothing was said, and which are not whole, as later ones have shown."""
        for ordinal, key in self._keys.interleaved() if self._keys is not None else ():
            if ordinal not in self._told:
                where = Source(self._shard, key, None, self._headers[ordinal], self._sizes[ordinal])
                yield Fault(where, ordinal, INTERLEAVED, REPEATS[INTERLEAVED], amends=True)
