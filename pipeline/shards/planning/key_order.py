"""Keys in the order of a shard: which come again, and which of these were parted."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

Ranges = tuple[tuple[int, int], ...]  # of ordinals, each from its first to just before its last


class KeyOrder:
    """The samples of a shard, from its first one on, by their keys.

    A key that comes again with the same fields, or fewer, is a duplicate. One that comes again with a field that its
    first sample lacks proves that the first was not whole: all samples of that key are interleaved. Memory is that of
    the keys, and of the places of those that come again.
    """

    def __init__(self) -> None:
        self._fields: dict[str, frozenset[str]] = {}  # of each key's first sample, as they came
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}
        self._again = array("q")  # ordinals whose key came before
        self._keys_again: list[str | None] = []  # None of what belongs to no sample
        self._parted: set[str] = set()

    @property
    def next_ordinal(self) -> int:
        """Ordinal of the sample that will be added next."""
        return len(self._fields) + len(self._again)

    def add(self, key: str, fields: tuple[str, ...]) -> bool:
        """Adds the next sample; says whether its key came before."""
        names = self._sets.get(fields)
        if names is None:
            names = self._sets[fields] = frozenset(fields)
        if key not in self._fields:
            self._fields[key] = names
            return False
        if not names <= self._fields[key]:
            self._parted.add(key)
        self._again.append(self.next_ordinal)
        self._keys_again.append(key)
        return True

    def pass_over(self) -> None:
        """Adds what has an ordinal and no field: it is no sample's part, whatever its name."""
        self._again.append(self.next_ordinal)
        self._keys_again.append(None)

    def is_interleaved(self, key: str) -> bool:
        """Whether what came until now proves that a key's members do not lie side by side."""
        return key in self._parted

    def duplicates(self) -> list[int]:
        """Ordinals of the samples that repeat an earlier one, ascending."""
        pairs = zip(self._again, self._keys_again, strict=True)
        return [ordinal for ordinal, key in pairs if key is not None and key not in self._parted]

    def interleaved(self) -> Iterator[tuple[int, str]]:
        """Ordinal and key of all samples whose keys' members do not lie side by side, ascending."""
        if not self._parted:
            return
        firsts, again = iter(self._fields), iter(zip(self._again, self._keys_again, strict=True))
        place, repeated = next(again, (-1, None))
        for ordinal in range(self.next_ordinal):
            if ordinal == place:
                key = repeated
                place, repeated = next(again, (-1, None))
            else:
                key = next(firsts)
            if key is not None and key in self._parted:
                yield ordinal, key


def to_ranges(ordinals: Iterable[int]) -> Ranges:
    """Ascending ordinals as ranges: the members of a whole shard are often out of order."""
    ranges: list[tuple[int, int]] = []
    for ordinal in ordinals:
        if ranges and ranges[-1][1] == ordinal:
            ranges[-1] = ranges[-1][0], ordinal + 1
        else:
            ranges.append((ordinal, ordinal + 1))
    return tuple(ranges)


def within(ranges: Ranges, start: int, end: int | None) -> Ranges:
    """What of some ranges lies from ``start`` to before ``end``; to their end where that is None."""
    cut = ((max(first, start), last if end is None else min(last, end)) for first, last in ranges)
    return tuple((first, last) for first, last in cut if first < last)
