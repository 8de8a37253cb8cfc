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
        clean: Whether nothing between it and the sample before is damaged; only then may a part begin here, or it would
            not know what the sample has lost.
    """

    start: int
    key: str
    clean: bool = True


class Cuts(NamedTuple):
    """How a shard is cut.

    Attributes:
        starts: Of each part, the offset of its first header and the ordinal of its first sample.
        duplicates: Ordinals of samples whose key an earlier sample of the shard has, ascending.
    """

    starts: list[tuple[int, int]]
    duplicates: list[int]


def samples(source: ByteSource, start: int = 0, end: int | None = None) -> Iterator[SampleStart]:
    """Finds the samples of an archive from its headers."""
    clean = True
    for group in group_members(scan(source, start, end)):
        if isinstance(group, Damage):
            clean = False
            continue
        yield SampleStart(group.members[0][1].header, group.key, clean)
        clean = True


def cut(found: Iterable[SampleStart], part_bytes: int) -> Cuts:
    """Cuts a shard into parts of at least ``part_bytes``, the last one aside."""
    starts, duplicates, seen = [(0, 0)], [], set[str]()
    for ordinal, (start, key, clean) in enumerate(found):
        if clean and start - starts[-1][0] >= part_bytes:
            starts.append((start, ordinal))
        if key in seen:
            duplicates.append(ordinal)
        else:
            seen.add(key)
    return Cuts(starts, duplicates)
