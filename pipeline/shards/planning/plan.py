"""Shards -> parts: what there is to do, from the shards alone."""

from __future__ import annotations

import json
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from typing import Any

from pipeline import pulse, storage
from pipeline.shards.packed.source import is_packed, open_shard
from pipeline.shards.planning.cuts import cut, samples
from pipeline.shards.planning.index import indexed_cuts
from pipeline.shards.planning.key_order import Ranges, within
from pipeline.shards.planning.patterns import SPECIAL, Shard, expand

PART_BYTES = 32 << 20
_HASHED_BYTES = 8 << 20

__all__ = [
    "PART_BYTES",
    "SPECIAL",
    "Part",
    "PartPlan",
    "Shard",
    "count_samples",
    "expand",
    "hash_shard",
    "limit",
    "needs_scan",
    "plan",
    "plan_shard",
    "replan",
    "shard_fingerprint",
]


@dataclass(frozen=True, slots=True)
class PartPlan:
    """What planning found of a part, noted so that an unchanged shard need not be opened again; see :class:`Part`."""

    fingerprint: str
    index: int = 0
    start: int = 0
    end: int | None = None
    first_ordinal: int = 0
    duplicates: tuple[int, ...] = ()
    interleaved: Ranges = ()
    num_samples: int | None = None

    def values(self) -> dict[str, object]:
        """Ready for JSON; what planning would find anyway is left out."""
        values = {name: getattr(self, name) for name in _PLANNED}
        return {name: value for name, value in values.items() if value not in (0, None, ())}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> PartPlan:
        """The plan that :meth:`values` described."""
        duplicates = tuple(values.get("duplicates", ()))
        interleaved = tuple(map(tuple, values.get("interleaved", ())))
        return cls(**{**values, "duplicates": duplicates, "interleaved": interleaved})


_PLANNED = tuple(field.name for field in fields(PartPlan))


@dataclass(frozen=True, slots=True)
class Part:
    """A range of samples of one shard: the unit of work, of failure and of commit.

    Attributes:
        shard: Name of the shard.
        url: Where it lies.
        fingerprint: Digest of the shard's name, size and version.
        index: Position of the part in the shard.
        start: Offset of its first header.
        end: Offset just after its last member; None reads to the shard's end and checks the end marker.
        first_ordinal: Ordinal of its first sample.
        duplicates: Ordinals of samples that repeat an earlier one of the shard.
        interleaved: Ordinals of samples whose members do not lie side by side in the shard.
        num_samples: How many it has, bad ones included; None where planning has not looked.
        only: Ordinals of the samples that are wanted; all where empty.
        retry: How often its bad samples were tried before.
        left_out: Where the list of samples lies that this job leaves out, as (file, first byte, end): the part itself
            travels with every row, and stays small. It is no word on the part's data, and not in its name.
    """

    shard: str
    url: str
    fingerprint: str
    index: int = 0
    start: int = 0
    end: int | None = None
    first_ordinal: int = 0
    duplicates: tuple[int, ...] = ()
    num_samples: int | None = None
    only: tuple[int, ...] = ()
    retry: int = 0
    left_out: tuple[str, int, int] | None = None
    interleaved: Ranges = ()

    @property
    def id(self) -> str:
        """Name of the part, safe in file names: the same shard content and range give the same name."""
        words = f"{self.fingerprint}:{self.start}:{self.end}"
        return blake2b(words.encode(), digest_size=12).hexdigest()

    def plan(self) -> PartPlan:
        """What planning found, for :func:`replan`."""
        return PartPlan(**{name: getattr(self, name) for name in _PLANNED})

    def to_json(self) -> str:
        """The part as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Part:
        """The part that :meth:`to_json` wrote."""
        values = json.loads(text)
        left_out = values.get("left_out")
        values["left_out"] = None if left_out is None else tuple(left_out)
        values["interleaved"] = tuple(map(tuple, values.get("interleaved", ())))
        lists = {name: tuple(values[name]) for name in ("duplicates", "only")}
        return cls(**{**values, **lists})


def plan(shards: Sequence[Shard], part_bytes: int = PART_BYTES) -> list[Part]:
    """Cuts shards into parts of about ``part_bytes``, at sample boundaries; see :func:`needs_scan`."""
    return [part for shard in shards for part in plan_shard(shard, part_bytes)]


def replan(shards: Sequence[Shard], plans: Iterable[PartPlan]) -> dict[str, list[Part]]:
    """The parts of shards that were planned before and have not changed since, without opening them.

    Args:
        shards: All.
        plans: What :meth:`Part.plan` told of parts, of these shards and others.

    Returns:
        Name of a shard -> its parts, for those of which every part is among the plans.
    """
    plans_by_shard: dict[str, list[PartPlan]] = {}
    for noted in plans:
        plans_by_shard.setdefault(noted.fingerprint, []).append(noted)
    parts_by_shard: dict[str, list[Part]] = {}
    for shard in shards:
        planned = plans_by_shard.get(shard_fingerprint(shard), [])
        planned.sort(key=lambda noted: noted.start)
        if _covers_shard(planned):
            parts_by_shard[shard.name] = [_noted(shard, noted) for noted in planned]
    return parts_by_shard


def _covers_shard(plans: Sequence[PartPlan]) -> bool:
    """Whether each part begins where the one before it ends, from the shard's first byte to its last."""
    ends = [noted.end for noted in plans]
    return bool(plans) and [noted.start for noted in plans] == [0, *ends[:-1]] and ends[-1] is None


def _noted(shard: Shard, noted: PartPlan) -> Part:
    return Part(shard.name, shard.url, **{name: getattr(noted, name) for name in _PLANNED})


def needs_scan(shard: Shard, part_bytes: int = PART_BYTES) -> bool:
    """Whether planning opens the shard: it is over ``part_bytes``, and not packed, which makes it one part whatever."""
    return shard.size > part_bytes and not is_packed(shard.name)


def plan_shard(shard: Shard, part_bytes: int = PART_BYTES) -> list[Part]:
    """The parts of one shard; see :func:`plan`.

    An index beside the shard spares the scan, and gives the same parts.

    Raises:
        InputError: The shard has to be scanned, and is not there or cannot be reached.
    """
    fingerprint = shard_fingerprint(shard)
    if not needs_scan(shard, part_bytes):
        return [Part(shard.name, shard.url, fingerprint)]
    source = open_shard(shard.name, shard.url)
    try:
        cuts = indexed_cuts(shard, source, part_bytes) or cut(samples(source), part_bytes)
    finally:
        source.close()
    parts = []
    for index, (start, ordinal) in enumerate(cuts.starts):
        end, until = cuts.starts[index + 1] if index + 1 < len(cuts.starts) else (None, None)
        first = bisect_left(cuts.duplicates, ordinal)
        last = len(cuts.duplicates) if until is None else bisect_left(cuts.duplicates, until)
        inside = tuple(cuts.duplicates[first:last])
        parts.append(
            Part(
                shard.name,
                shard.url,
                fingerprint,
                index,
                start,
                end,
                ordinal,
                inside,
                (cuts.num_samples if until is None else until) - ordinal,
                interleaved=within(cuts.interleaved, ordinal, until),
            )
        )
    return parts


def limit(parts: Iterable[Part], max_samples: int) -> list[Part]:
    """The first parts that hold ``max_samples`` samples together, the last of them cut at a sample's header.

    Parts behind them are not asked for.

    Raises:
        InputError: A shard is not there or cannot be reached.
    """
    limited: list[Part] = []
    remaining = max_samples
    for part in parts:
        count, end = _first_samples(part, remaining)
        if end is not None:
            part = replace(part, end=end, num_samples=count, interleaved=_interleaved(part, count))
        limited.append(part)
        remaining -= min(remaining, count)
        if not remaining:
            break
    return limited


def count_samples(part: Part) -> int:
    """How many samples a part of a shard has, bad ones included: by its headers where planning has not looked.

    Raises:
        InputError: The shard is not there or cannot be reached.
    """
    return _first_samples(part, sys.maxsize)[0] if part.num_samples is None else part.num_samples


def _first_samples(part: Part, at_most: int) -> tuple[int, int | None]:
    """How many samples a part's first are, and where the next begins; None where there is none.

    What belongs to no sample is counted as the reader counts it, and no cut is made there: it may lie in a sample.
    """
    source = open_shard(part.shard, part.url, part.start, part.end)
    count = 0
    try:
        for sample in samples(source, part.start, part.end):
            if count >= at_most and sample.fields:
                return count, sample.start
            count += 1
    finally:
        source.close()
    return count, None


def _interleaved(part: Part, at_most: int) -> Ranges:
    """Which of a part's first samples go on behind them; of a shard that was not scanned, since it is small.

    A packed shard is not unpacked to its end for this: there only what is read tells.
    """
    end = part.first_ordinal + at_most
    if part.num_samples is not None or is_packed(part.shard):
        return within(part.interleaved, part.first_ordinal, end)
    source = open_shard(part.shard, part.url)
    try:
        return within(cut(samples(source), part.start + source.size).interleaved, 0, end)
    finally:
        source.close()


def hash_shard(shard: Shard) -> Shard:
    """The shard with a digest of its content for a version, in the place of what a listing tells of it.

    Raises:
        InputError: It is not there or cannot be reached.
    """
    digest = blake2b(digest_size=16)
    source = storage.open_source(shard.url, read_ahead=True)
    try:
        for start in range(0, source.size, _HASHED_BYTES):
            digest.update(source.read(start, _HASHED_BYTES))
            pulse.beat()
    finally:
        source.close()
    return replace(shard, version=f"content:{digest.hexdigest()}")


def shard_fingerprint(shard: Shard) -> str:
    """Digest of a shard's name, size and version."""
    words = f"{shard.name}:{shard.size}:{shard.version}"
    return blake2b(words.encode(), digest_size=12).hexdigest()
