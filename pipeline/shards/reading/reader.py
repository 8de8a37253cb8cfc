"""Members of a tar -> samples: neighbours that share a key, one field per extension."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from pipeline import storage
from pipeline.errors import RunError
from pipeline.limits import MEMBER_BYTES, Limits, beyond
from pipeline.sample import Fault, Field, Sample, Source, Tally
from pipeline.shards.packed.source import open_shard
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.left_out import LeftOut, read_left_out
from pipeline.shards.reading.sample_order import REPEATS, SampleOrder
from pipeline.shards.tar.grouping import Group, group_members, split_name
from pipeline.shards.tar.members import Damage, Member
from pipeline.shards.tar.scanner import scan


def read_part(
    part: Part,
    limits: Limits | None = None,
    tally: Tally | None = None,
    fields: Collection[str] | None = None,
) -> Iterator[Sample | Fault]:
    """Reads the samples of a part, in the order of the shard; damage comes as faults between them.

    A sample that the part leaves out is a fault too, whose reason is one of ``FILTERS``; one that is bad is that first.
    At the end come faults that amend: samples that are not whole, as what came behind them has shown
    (:func:`settled` puts them in their places).

    The bytes of a sample's fields are views of the file, valid as long as something holds them. Offsets of a packed
    shard are those of the archive in it.

    Args:
        part: Which.
        limits: How large things may be.
        tally: Counts what is found, apart from what is handed over.
        fields: Those whose content is needed; samples and faults are the same, and the ``data`` of all other fields is
            empty. Of a shard that is not packed, their bytes are passed over where that costs less than to read them:
            see :class:`pipeline.storage.source.RemoteSource`. None reads all.

    Raises:
        InputError: The shard is not there, or cannot be reached. That is no word on its data: nothing is quarantined,
            and the part is still to do.
        RunError: Members were lost on the way, which is a bug.
    """
    limits = limits or Limits()
    left_out = read_left_out(part)
    source = open_shard(
        part.shard, part.url, part.start, part.end, read_ahead=fields is None, limits=limits
    )
    only = frozenset(part.only)
    try:
        for item in _Reading(source, part, limits, left_out, tally or Tally(), fields).items():
            if not only or (item.ordinal in only and _key(item) is not None):
                yield item
    finally:
        source.close()


def settled(items: Iterable[Sample | Fault]) -> list[Sample | Fault]:
    """What :func:`read_part` gives, with each fault that amends in the place of what it takes back."""
    amended: list[Sample | Fault] = []
    places: dict[int, int] = {}
    for item in items:
        if isinstance(item, Fault) and item.amends:
            amended[places[item.ordinal]] = replace(item, amends=False)
            continue
        if _key(item) is not None:
            places[item.ordinal] = len(amended)
        amended.append(item)
    return amended


def _key(item: Sample | Fault) -> str | None:
    return item.key if isinstance(item, Sample) else item.source.key


class _Reading:
    """One way through a part.

    Args:
        source: The shard, open.
        part: What of it.
        limits: How large things may be.
        left_out: Samples that are left out.
        tally: Counts what is found.
        fields: Those whose content is read; all where None.
    """

    def __init__(
        self,
        source: storage.ByteSource,
        part: Part,
        limits: Limits,
        left_out: LeftOut,
        tally: Tally,
        fields: Collection[str] | None,
    ) -> None:
        self.source, self.part, self.limits = source, part, limits
        self.left_out, self.tally, self.fields = left_out, tally, fields
        self.only = frozenset(part.only)
        self.order = SampleOrder(part)
        self.contents: dict[int, memoryview] = {}
        # What the scan has found, and of that what is of no sample.
        self.members = self.passed_over = 0

    def items(self) -> Iterator[Sample | Fault]:
        part, tally = self.part, self.tally
        members = self._load(scan(self.source, part.start, part.end))
        grouped = damages = 0
        for group in group_members(members, self._pass_over):
            if isinstance(group, Damage):
                damages += 1
                where = Source(part.shard, offset=group.offset)
                ordinal = self.order.ordinal
                yield Fault(where, ordinal, group.reason, group.detail, group.setting)
                continue
            grouped += len(group.members)
            yield self._sample(group)
        if self.order.ordinal == part.first_ordinal and not damages:
            damages = 1
            yield empty_shard(part, self.order.ordinal, tally.strays)
        yield from self.order.amendments()
        if grouped + self.passed_over != self.members:
            raise RunError(
                f"{self.members} members were read; {grouped} are in samples, {self.passed_over} in none",
                where=f"shard={part.shard} offset={part.start}",
                fix="this is a bug: report it with the shard",
            )
        tally.damages = 0 if self.only else damages
        tally.ended = True

    def _sample(self, group: Group) -> Sample | Fault:
        ordinal = self.order.ordinal
        self.tally.samples += not self.only or ordinal in self.only
        repeat = self.order.add(group)
        contents = {member.offset: self.contents.pop(member.offset) for _, member in group.members}
        fault = group_fault(self.part.shard, group, ordinal, repeat=repeat, limits=self.limits)
        if fault is None and ordinal in self.left_out:
            header, end = group.members[0][1].header, group.members[-1][1].end
            where = Source(self.part.shard, group.key, None, header, end - header)
            fault = Fault(where, ordinal, *self.left_out[ordinal])
        return fault or _sample(self.part.shard, group, ordinal, contents, self.fields)

    def _pass_over(self, member: Member, kind: str) -> None:
        """Counts a member that belongs to no sample."""
        self.tally.strays[kind] += 1
        self.passed_over += 1
        del self.contents[member.offset]

    def _load(self, items: Iterable[Member | Damage]) -> Iterator[Member | Damage]:
        """Reads each member's content when its header has been read and the next has not: files are walked forward."""
        for item in items:
            if isinstance(item, Member):
                self.members += 1
                size = item.size
                if item.special or size > self.limits.member_bytes or not self._needs(item):
                    size = 0
                self.contents[item.offset] = self.source.read(item.offset, size)
            yield item

    def _needs(self, member: Member) -> bool:
        return self.fields is None or split_name(member.name)[1] in self.fields


def empty_shard(part: Part, ordinal: int, strays: Mapping[str, int]) -> Fault:
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


def _sample(
    shard: str,
    group: Group,
    ordinal: int,
    contents: Mapping[int, memoryview],
    needed: Collection[str] | None,
) -> Sample | Fault:
    fields: dict[str, Field] = {}
    for extension, member in group.members:
        data = contents[member.offset]
        is_needed = needed is None or extension in needed
        if is_needed and len(data) < member.size:  # a file that shrank since it was scanned
            where = Source(shard, group.key, extension, member.header, member.size)
            detail = "the file ends inside this field"
            return Fault(where, ordinal, "truncated_shard", detail)
        fields[extension] = Field(data, member.offset, member.size)
    return Sample(group.key, shard, ordinal, fields)
