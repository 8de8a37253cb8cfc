"""Samples by their headers: which members a sample has, where they lie, how large they are, and how they begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.limits import Limits
from pipeline.sample import Fault, Source, Tally
from pipeline.shards.packed.source import is_packed
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import empty_shard, group_fault
from pipeline.shards.reading.sample_order import SampleOrder
from pipeline.shards.tar.grouping import group_members
from pipeline.shards.tar.members import Damage, Member
from pipeline.shards.tar.scanner import scan
from pipeline.storage import ByteSource

HEAD_BYTES = (
    64 << 10
)  # of a member; read when its header has been, so that a remote file is walked forward


@dataclass(frozen=True, slots=True)
class Outline:
    """A sample of which no more has been read than the beginning of its members.

    Attributes:
        key: As in :class:`pipeline.sample.Sample`.
        ordinal: Position in the shard, counted from 0.
        members: ``(extension, member)``, in the order of the shard.
        fault: Why the reader would not hand the sample over; None where it would.
        heads: Offset of a member's content -> its first bytes; all of them where the shard is packed.
    """

    key: str
    ordinal: int
    members: tuple[tuple[str, Member], ...]
    fault: Fault | None = None
    heads: Mapping[int, memoryview] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes of content, all members together."""
        return sum(member.size for _, member in self.members)


def outline_part(
    source: ByteSource, part: Part, limits: Limits | None = None, tally: Tally | None = None
) -> Iterator[Outline | Fault]:
    """Lists the samples of a part in the order of the shard.

    The samples, and the faults with their reasons, are those of :func:`pipeline.shards.reading.reader.read_part`; a
    sample that has a fault is an outline all the same, so that its members are counted. Damage to the shard is a bare
    fault, and so is, at the end, one that amends what was said of an earlier sample.

    Args:
        source: The shard, open.
        part: What of it.
        limits: How large a member may be.
        tally: Counts what is found.
    """
    limits = limits or Limits()
    tally = Tally() if tally is None else tally
    order = SampleOrder(part)
    damages = 0
    heads: dict[int, memoryview] = {}
    at_most = limits.member_bytes if is_packed(part.shard) else HEAD_BYTES

    def pass_over(member: Member, kind: str) -> None:
        tally.strays[kind] += 1
        del heads[member.offset]

    items = _heads(source, part, heads, at_most)
    for group in group_members(items, pass_over):
        ordinal = order.ordinal
        if isinstance(group, Damage):
            damages += 1
            where = Source(part.shard, offset=group.offset)
            yield Fault(where, ordinal, group.reason, group.detail, group.setting)
            continue
        tally.samples += 1
        repeat = order.add(group)
        contents = {member.offset: heads.pop(member.offset) for _, member in group.members}
        fault = group_fault(part.shard, group, ordinal, repeat=repeat, limits=limits)
        yield Outline(group.key, ordinal, tuple(group.members), fault, contents)
    if order.ordinal == part.first_ordinal and not damages:
        damages = 1
        yield empty_shard(part, order.ordinal, tally.strays)
    yield from order.amendments()
    tally.damages, tally.ended = damages, True


def _heads(
    source: ByteSource, part: Part, heads: dict[int, memoryview], at_most: int
) -> Iterator[Member | Damage]:
    for item in scan(source, part.start, part.end):
        if isinstance(item, Member):
            size = 0 if item.special else min(item.size, at_most)
            heads[item.offset] = source.read(item.offset, size)
        yield item
