"""Members of a tar -> samples: neighbours that share a key, one field per extension."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline import storage
from pipeline.sample import Fault, Field, Sample, Source
from pipeline.shards.grouping import group_members
from pipeline.shards.plan import Part
from pipeline.shards.tar import Damage, Member, scan


def read_part(part: Part) -> Iterator[Sample | Fault]:
    """Reads the samples of a part, in the order of the shard; damage comes as faults between them.

    The bytes of a sample's fields are views of the file, valid as long as something holds them.

    Raises:
        InputError: The shard is not there, or cannot be reached. That is no word on its data: nothing is quarantined,
            and the part is still to do.
    """
    source = storage.open_source(part.url, part.start, part.end, read_ahead=True)
    try:
        yield from _read(source, part)
    finally:
        source.close()


def _read(source: storage.ByteSource, part: Part) -> Iterator[Sample | Fault]:
    seen: set[str] = set()
    ordinal = part.first_ordinal
    count = 0
    contents: dict[int, memoryview] = {}
    for group in group_members(_load(source, scan(source, part.start, part.end), contents)):
        if isinstance(group, Damage):
            where = Source(part.shard, offset=group.offset)
            yield Fault(where, ordinal, group.reason, group.detail)
            count += 1
            continue
        key, members = group
        duplicate = key in seen or ordinal in part.duplicates
        seen.add(key)
        own = {member.offset: contents.pop(member.offset) for _, member in members}
        yield _sample(own, part.shard, key, ordinal, members, duplicate=duplicate)
        ordinal += 1
        count += 1
    if not count:
        yield Fault(Source(part.shard), ordinal, "empty_shard", "the archive holds no samples")


def _load(
    source: storage.ByteSource, items: Iterator[Member | Damage], contents: dict[int, memoryview]
) -> Iterator[Member | Damage]:
    """Reads each member's content when its header has been read and the next has not: a file is walked forward only."""
    for item in items:
        if isinstance(item, Member):
            wanted = 0 if item.special else item.size
            contents[item.offset] = source.read(item.offset, wanted)
        yield item


def _sample(
    contents: dict[int, memoryview],
    shard: str,
    key: str,
    ordinal: int,
    members: list[tuple[str, Member]],
    *,
    duplicate: bool,
) -> Sample | Fault:
    first = members[0][1]
    size = members[-1][1].end - first.header

    def fault(reason: str, detail: str, field: str | None = None) -> Fault:
        return Fault(Source(shard, key, field, first.header, size), ordinal, reason, detail)

    if duplicate:
        return fault("duplicate_key", "an earlier sample of this shard has the same key")
    fields: dict[str, Field] = {}
    for extension, member in members:
        if member.special:
            return fault("unsafe_member", f"{member.special}: not followed, not read", extension)
        if not extension:
            return fault("no_extension", "the member's name has no extension")
        if extension in fields:
            return fault("duplicate_field", "the sample holds this field twice", extension)
        data = contents[member.offset]
        if len(data) < member.size:  # a file that shrank since it was scanned
            return fault("truncated_shard", "the file ends inside this field", extension)
        fields[extension] = Field(data, member.offset, member.size)
    return Sample(key, shard, ordinal, fields)
