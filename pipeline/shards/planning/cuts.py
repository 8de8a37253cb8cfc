"""Where a shard may be cut into parts: at the first header of a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.shards.planning.key_order import KeyOrder, Ranges, to_ranges
from pipeline.shards.tar.grouping import group_members
from pipeline.shards.tar.members import Damage
from pipeline.shards.tar.scanner import scan
from pipeline.storage import ByteSource


class SampleStart(NamedTuple):
    """Where a sample begins.

    Attributes:
        start: Offset of its first header.
        key: Its key.
        fields: Its fields; none of what belongs to no sample, and has a place among them all the same.
        clean: Whether nothing beside it is damaged. Only then may a part begin here: what a sample has lost is told
            from what lies around it.
    """

    start: int
    key: str
    fields: tuple[str, ...]
    clean: bool = True


class Cuts(NamedTuple):
    """How a shard is cut.

    Attributes:
        starts: Of each part, the offset of its first header and the ordinal of its first sample.
        keys: Of each part, the key of its first sample; empty for the first.
        duplicates: Ordinals of samples that repeat an earlier sample of the shard, ascending.
        interleaved: Ordinals of samples whose members do not lie side by side.
        num_samples: How many samples the shard has.
    """

    starts: list[tuple[int, int]]
    keys: list[str]
    duplicates: list[int]
    interleaved: Ranges = ()
    num_samples: int = 0


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
        key, members, fields, _ = group
        # What belongs to no sample may lie inside one.
        last = SampleStart(members[0][1].header, key, fields, bool(fields) and not damaged)
        damaged = False
    if last is not None:
        yield last._replace(clean=False) if damaged else last


def cut(found: Iterable[SampleStart], part_bytes: int) -> Cuts:
    """Cuts a shard into parts of at least ``part_bytes``, the last one aside."""
    starts, keys = [(0, 0)], [""]
    order = KeyOrder()
    add, last_start, ordinal = order.add, 0, -1
    for ordinal, (start, key, fields, clean) in enumerate(found):
        if start - last_start >= part_bytes and clean and ordinal:
            starts.append((start, ordinal))
            keys.append(key)
            last_start = start
        if fields:
            add(key, fields)
        else:
            order.pass_over()
    interleaved = to_ranges(place for place, _ in order.interleaved())
    return Cuts(starts, keys, order.duplicates(), interleaved, ordinal + 1)
