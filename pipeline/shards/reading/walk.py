"""The one way through the headers of a part: which samples there are, and what speaks against each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from pipeline.limits import MEMBER_BYTES, Limits, beyond
from pipeline.sample import Fault, Source, Tally
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.sample_order import REPEATS, SampleOrder
from pipeline.shards.tar.grouping import Group, group_members
from pipeline.shards.tar.members import Damage, Member


class Walked(NamedTuple):
    """A sample by its headers.

    Attributes:
        group: Its members.
        ordinal: Its position in the shard, counted from 0.
        fault: Why it cannot be used, as far as its headers tell; None where it can.
    """

    group: Group
    ordinal: int
    fault: Fault | None


def walk(
    part: Part,
    members: Iterable[Member | Damage],
    pass_over: Callable[[Member, str], None],
    limits: Limits,
    tally: Tally,
) -> Iterator[Walked | Fault]:
    """The samples of a part in the order of the shard.

    Damage to the shard is a fault, and so is, at the end, what amends what was said of an earlier sample.

    Args:
        part: Which.
        members: What the scan of the part finds.
        pass_over: Told of members that belong to no sample, and of their kind.
        limits: How large a member may be.
        tally: Counts samples and damages, and knows whether the end was reached.
    """
    order, only = SampleOrder(part), frozenset(part.only)
    damages = 0
    for group in group_members(members, pass_over):
        ordinal = order.ordinal
        if isinstance(group, Damage):
            damages += 1
            where = Source(part.shard, offset=group.offset)
            yield Fault(where, ordinal, group.reason, group.detail, group.setting)
            continue
        tally.samples += not only or ordinal in only
        repeat = order.add(group)
        yield Walked(
            group, ordinal, group_fault(part.shard, group, ordinal, repeat=repeat, limits=limits)
        )
    if order.ordinal == part.first_ordinal and not damages:
        damages = 1
        yield _empty(part, order.ordinal, tally.strays)
    yield from order.amendments()
    tally.damages = 0 if only else damages
    tally.ended = True


def _empty(part: Part, ordinal: int, strays: Mapping[str, int]) -> Fault:
    """The fault of a shard in which no sample was found, and no damage either."""
    detail = "the archive holds no samples"
    if strays:
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(strays.items()))
        detail = f"{detail}, only members that belong to none: {counts}"
    return Fault(Source(part.shard), ordinal, "empty_shard", detail)


def group_fault(
    shard: str, group: Group, ordinal: int, *, repeat: str, limits: Limits
) -> Fault | None:
    """Why a sample cannot be used, as far as its headers tell; None where it can.

    Args:
        shard: Name of the shard.
        group: The sample's members.
        ordinal: Its position in the shard.
        repeat: What its key has against it, as :meth:`SampleOrder.add` says.
        limits: How large a member may be.
    """
    first = group.members[0][1]
    size = group.members[-1][1].end - first.header

    def fault(reason: str, detail: str, field: str | None = None, setting: str = "") -> Fault:
        where = Source(shard, group.key, field, first.header, size)
        return Fault(where, ordinal, reason, detail, setting)

    if repeat:
        return fault(repeat, REPEATS[repeat])
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
