"""Members of a tar -> samples: neighbours that share a key, one field per extension."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline import storage
from pipeline.limits import MEMBER_BYTES, Limits, beyond
from pipeline.sample import Fault, Field, Sample, Source
from pipeline.shards.grouping import Group, group_members
from pipeline.shards.left_out import LeftOut, read_left_out
from pipeline.shards.plan import Part
from pipeline.shards.source import open_shard
from pipeline.shards.tar import Damage, Member, scan


def read_part(part: Part, limits: Limits | None = None) -> Iterator[Sample | Fault]:
    """Reads the samples of a part, in the order of the shard; damage comes as faults between them.

    A sample that the part leaves out is a fault too, whose reason is one of ``FILTERS``; one that is bad is that first.

    The bytes of a sample's fields are views of the file, valid as long as something holds them. Offsets of a packed
    shard are those of the archive in it.

    Raises:
        InputError: The shard is not there, or cannot be reached. That is no word on its data: nothing is quarantined,
            and the part is still to do.
    """
    limits = limits or Limits()
    left_out = read_left_out(part)
    source = open_shard(part.shard, part.url, part.start, part.end, read_ahead=True, limits=limits)
    only = frozenset(part.only)
    try:
        for item in _read(source, part, limits, left_out):
            if not only or (item.ordinal in only and _key(item) is not None):
                yield item
    finally:
        source.close()


def _key(item: Sample | Fault) -> str | None:
    return item.key if isinstance(item, Sample) else item.source.key


def _read(
    source: storage.ByteSource, part: Part, limits: Limits, left_out: LeftOut
) -> Iterator[Sample | Fault]:
    seen: set[str] = set()
    duplicates = frozenset(part.duplicates)
    ordinal = part.first_ordinal
    empty = True
    contents: dict[int, memoryview] = {}
    members = _load(source, scan(source, part.start, part.end), contents, limits)
    for group in group_members(members):
        empty = False
        if isinstance(group, Damage):
            where = Source(part.shard, offset=group.offset)
            yield Fault(where, ordinal, group.reason, group.detail, group.setting)
            continue
        duplicate = group.key in seen or ordinal in duplicates
        seen.add(group.key)
        own = {member.offset: contents.pop(member.offset) for _, member in group.members}
        fault = group_fault(part.shard, group, ordinal, duplicate=duplicate, limits=limits)
        if fault is None and ordinal in left_out:
            header, end = group.members[0][1].header, group.members[-1][1].end
            where = Source(part.shard, group.key, None, header, end - header)
            fault = Fault(where, ordinal, *left_out[ordinal])
        yield fault or _sample(part.shard, group, ordinal, own)
        ordinal += 1
    if empty:
        yield Fault(Source(part.shard), ordinal, "empty_shard", "the archive holds no samples")


def _load(
    source: storage.ByteSource,
    items: Iterator[Member | Damage],
    contents: dict[int, memoryview],
    limits: Limits,
) -> Iterator[Member | Damage]:
    """Reads each member's content when its header has been read and the next has not: a file is walked forward only."""
    for item in items:
        if isinstance(item, Member):
            wanted = item.size if not item.special and item.size <= limits.member_bytes else 0
            contents[item.offset] = source.read(item.offset, wanted)
        yield item


def group_fault(
    shard: str, group: Group, ordinal: int, *, duplicate: bool, limits: Limits
) -> Fault | None:
    """Why a sample cannot be used, as far as its headers tell; None where it can.

    Args:
        shard: Name of the shard.
        group: The sample's members.
        ordinal: Its position in the shard.
        duplicate: Whether an earlier sample of the shard has its key.
        limits: How large a member may be.
    """
    first = group.members[0][1]
    size = group.members[-1][1].end - first.header

    def fault(reason: str, detail: str, field: str | None = None, setting: str = "") -> Fault:
        where = Source(shard, group.key, field, first.header, size)
        return Fault(where, ordinal, reason, detail, setting)

    if duplicate:
        return fault("duplicate_key", "an earlier sample of this shard has the same key")
    if group.damage is not None:
        detail = f"a member of this sample is lost: {group.damage.detail}"
        return fault(group.damage.reason, detail, setting=group.damage.setting)
    seen: set[str] = set()
    for extension, member in group.members:
        if member.special:
            return fault("unsafe_member", f"{member.special}: not followed, not read", extension)
        if not extension:
            return fault("no_extension", "the member's name has no extension")
        if extension in seen:
            return fault("duplicate_field", "the sample holds this field twice", extension)
        if member.size > limits.member_bytes:
            what = f"the member has {member.size} bytes"
            error = beyond(
                what, setting=MEMBER_BYTES, limit=limits.member_bytes, needed=member.size
            )
            return fault(error.reason, error.what, extension, error.setting)
        seen.add(extension)
    return None


def _sample(
    shard: str, group: Group, ordinal: int, contents: Mapping[int, memoryview]
) -> Sample | Fault:
    fields: dict[str, Field] = {}
    for extension, member in group.members:
        data = contents[member.offset]
        if len(data) < member.size:  # a file that shrank since it was scanned
            where = Source(shard, group.key, extension, member.header, member.size)
            detail = "the file ends inside this field"
            return Fault(where, ordinal, "truncated_shard", detail)
        fields[extension] = Field(data, member.offset, member.size)
    return Sample(group.key, shard, ordinal, fields)
