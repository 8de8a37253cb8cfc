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
    """
    try:
        source = storage.open_source(part.url)
    except OSError as error:
        yield Fault(Source(part.shard), 0, "unreadable", f"{error.strerror or error}")
        return
    try:
        yield from _read(source, part)
    finally:
        source.close()


def _read(source: storage.ByteSource, part: Part) -> Iterator[Sample | Fault]:
    seen: set[str] = set()
    ordinal = part.first_ordinal
    count = 0
    for group in group_members(scan(source, part.start, part.end)):
        if isinstance(group, Damage):
            where = Source(part.shard, offset=group.offset)
            yield Fault(where, ordinal, group.reason, group.detail)
            count += 1
            continue
        key, members = group
        duplicate = key in seen or ordinal in part.duplicates
        seen.add(key)
        yield _sample(source, part.shard, key, ordinal, members, duplicate=duplicate)
        ordinal += 1
        count += 1
    if not count:
        yield Fault(Source(part.shard), ordinal, "empty_shard", "the archive holds no samples")


def _sample(
    source: storage.ByteSource,
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
        data = source.read(member.offset, member.size)
        if len(data) < member.size:  # a file that shrank since it was scanned
            return fault("truncated_shard", "the file ends inside this field", extension)
        fields[extension] = Field(data, member.offset, member.size)
    return Sample(key, shard, ordinal, fields)
