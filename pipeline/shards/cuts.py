"""Where a shard may be cut into parts: at the first header of a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.shards.grouping import group_members
from pipeline.shards.tar import Damage, scan
from pipeline.storage import ByteSource


class SampleStart(NamedTuple):
    """Where a sample begins.

    Attributes:
        start: Offset of its first header.
        key: Its key.
        clean: Whether nothing beside it is damaged. Only then may a part begin here: what a sample has lost is told
            from what lies around it.
    """

    start: int
    key: str
    clean: bool = True


class Cuts(NamedTuple):
    """How a shard is cut.

    Attributes:
        starts: Of each part, the offset of its first header and the ordinal of its first sample.
        keys: Of each part, the key of its first sample; empty for the first.
        duplicates: Ordinals of samples whose key an earlier sample of the shard has, ascending.
    """

    starts: list[tuple[int, int]]
    keys: list[str]
    duplicates: list[int]


def samples(source: ByteSource, start: int = 0, end: int | None = None) -> Iterator[SampleStart]:
    """Finds the samples of an archive from its headers."""
    last: SampleStart | None = None
    damaged = False
    for group in group_members(scan(source, start, end)):
        if isinstance(group, Damage):
            damaged = True
            continue
        if last is not None:
            yield last._replace(clean=False) if damaged else last
        last = SampleStart(group.members[0][1].header, group.key, not damaged)
        damaged = False
    if last is not None:
        yield last._replace(clean=False) if damaged else last


def cut(found: Iterable[SampleStart], part_bytes: int) -> Cuts:
    """Cuts a shard into parts of at least ``part_bytes``, the last one aside."""
    starts, keys, duplicates = [(0, 0)], [""], list[int]()
    seen = set[str]()
    for ordinal, (start, key, clean) in enumerate(found):
        if clean and start - starts[-1][0] >= part_bytes:
            starts.append((start, ordinal))
            keys.append(key)
        if key in seen:
            duplicates.append(ordinal)
        else:
            seen.add(key)
    return Cuts(starts, keys, duplicates)
