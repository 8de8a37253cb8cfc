"""Members of a tar -> samples: neighbours that share a key, one field per extension."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from pipeline import storage
from pipeline.errors import RunError
from pipeline.limits import Limits
from pipeline.sample import Fault, Field, Sample, Source, Tally
from pipeline.shards.packed.source import open_shard
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.left_out import LeftOut, read_left_out
from pipeline.shards.reading.walk import walk
from pipeline.shards.tar.grouping import Group, split_name
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
        self.contents: dict[int, memoryview] = {}
        # What the scan has found, and of that what is of no sample.
        self.members = self.passed_over = 0

    def items(self) -> Iterator[Sample | Fault]:
        part = self.part
        members = self._load(scan(self.source, part.start, part.end))
        grouped = 0
        for item in walk(part, members, self._pass_over, self.limits, self.tally):
            if isinstance(item, Fault):
                yield item
                continue
            grouped += len(item.group.members)
            yield self._sample(*item)
        if grouped + self.passed_over != self.members:
            raise RunError(
                f"{self.members} members were read; {grouped} are in samples, {self.passed_over} in none",
                where=f"shard={part.shard} offset={part.start}",
                fix="this is a bug: report it with the shard",
            )

    def _sample(self, group: Group, ordinal: int, fault: Fault | None) -> Sample | Fault:
        contents = {member.offset: self.contents.pop(member.offset) for _, member in group.members}
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
