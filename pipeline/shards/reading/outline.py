"""Samples by their headers: which members a sample has, where they lie, how large they are, and how they begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.limits import Limits
from pipeline.sample import Fault, Tally
from pipeline.shards.packed.source import is_packed
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.walk import walk
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
    heads: dict[int, memoryview] = {}
    at_most = limits.member_bytes if is_packed(part.shard) else HEAD_BYTES

    def pass_over(member: Member, kind: str) -> None:
        tally.strays[kind] += 1
        del heads[member.offset]

    items = _heads(source, part, heads, at_most)
    for item in walk(part, items, pass_over, limits, tally):
        if isinstance(item, Fault):
            yield item
            continue
        group, ordinal, fault = item
        contents = {member.offset: heads.pop(member.offset) for _, member in group.members}
        yield Outline(group.key, ordinal, tuple(group.members), fault, contents)


def _heads(
    source: ByteSource, part: Part, heads: dict[int, memoryview], at_most: int
) -> Iterator[Member | Damage]:
    for item in scan(source, part.start, part.end):
        if isinstance(item, Member):
            size = 0 if item.special else min(item.size, at_most)
            heads[item.offset] = source.read(item.offset, size)
        yield item
