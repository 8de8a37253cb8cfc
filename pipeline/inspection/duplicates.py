"""Keys that come more than once across shards and splits, with examples whose content is compared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.inspection.census import Census
from pipeline.inspection.report import Duplicates, Repeat, RepeatedKeys
from pipeline.modalities.content import Content
from pipeline.shards.packed.source import is_packed, open_shard
from pipeline.shards.planning.keys import Repeats, across_shards, across_splits, holds, key_hash
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.outline import Outline, outline_part

COMPARED_BYTES = 64 << 20  # larger members are not compared


def find_duplicates(censuses: Mapping[str, Census]) -> Duplicates:
    """Keys that several shards of a split, or several splits, have.

    Args:
        censuses: Split -> what was found in it.
    """
    splits = {name: [keys for _, keys in census.keys] for name, census in censuses.items()}
    shards = {name: census.keys for name, census in censuses.items()}
    repeats_by_split = {name: across_shards(keys) for name, keys in splits.items()}
    shared = across_splits(splits)
    return Duplicates(
        within_shards=sum(census.reasons["duplicate_key"] for census in censuses.values()),
        across_shards={
            name: _described(repeats, [shards[name]])
            for name, repeats in repeats_by_split.items()
            if repeats.count
        },
        across_splits={
            " & ".join(pair): _described(repeats, [shards[name] for name in pair])
            for pair, repeats in shared.items()
        },
    )


def _described(
    repeats: Repeats, splits: Sequence[Sequence[tuple[Part, np.ndarray]]]
) -> RepeatedKeys:
    """A count, and for each example the two places: one split gives both, or each of two gives one."""
    examples = []
    for key in repeats.hashes:
        holders = [
            [part for part, keys in shards if holds(keys, key)][: 3 - len(splits)]
            for shards in splits
        ]
        first, second = (part for parts in holders for part in parts)
        examples.append(_compare(first, second, key))
    return RepeatedKeys(repeats.count, tuple(examples))


def _compare(first: Part, second: Part, key: int) -> Repeat:
    """Finds a key in two shards again, and says which of its fields hold the same bytes."""
    with contextlib.ExitStack() as stack:
        places = [_find(part, key, stack) for part in (first, second)]
        (mine, contents), (_, twins) = places
        same = [
            name
            for name, content in contents.items()
            if name in twins
            and twins[name].size == content.size <= COMPARED_BYTES
            and bytes(content.whole()) == bytes(twins[name].whole())
        ]
        return Repeat(mine.key, (first.shard, second.shard), tuple(same))


def _find(part: Part, key: int, stack: contextlib.ExitStack) -> tuple[Outline, dict[str, Content]]:
    """The sample of a key, and its members' content, readable until the stack is left."""
    source = open_shard(part.shard, part.url, part.start, part.end)
    stack.callback(source.close)
    again = None if is_packed(part.shard) else source
    outlines = (item for item in outline_part(source, part) if isinstance(item, Outline))
    outline = next(outline for outline in outlines if key_hash(outline.key) == key)
    return outline, {
        name: Content(member.size, outline.heads[member.offset], again, member.offset)
        for name, member in outline.members
    }
