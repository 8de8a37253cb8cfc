"""Looks through one part of a shard without decoding it: headers, small members, and what they say of each sample."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.lint.inspection import Inspection
from pipeline.errors import SampleError, ShardError
from pipeline.inspection.census import Census
from pipeline.inspection.picks import Pick
from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.content import EXTENSIONS, SNIFFED_BYTES, Content, misnamed, sniff
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.naming import under_name
from pipeline.modalities.decoding.rows import setting_of
from pipeline.modalities.decoding.targets import label_place, written_label
from pipeline.modalities.decoding.values import NOTHING
from pipeline.modalities.facets import Facts, ProbeRules
from pipeline.sample import NOTES, Fault, Field, Sample, Source, Tally
from pipeline.shards.packed.source import is_packed, open_shard
from pipeline.shards.planning.index import index_url, write_index
from pipeline.shards.planning.keys import key_hash
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.outline import Outline, outline_part
from pipeline.shards.tar.members import Member

NO_MODALITY = "none"
TOLD_SAMPLES = 1000  # how often progress is told

Follow = Callable[
    [int, int], None
]  # told of samples, and how many of them are bad, since the last call


class Inspector:
    """Inspects parts; picklable, built once on the driver.

    Args:
        config: The configuration.
        num_picks: Samples drawn at random.
    """

    def __init__(self, config: Config, num_picks: int) -> None:
        self.num_picks = num_picks
        self.seed = config.lint.seed
        self.write_index = config.lint.write_index
        self.rules = ProbeRules(config.lint.max_text_bytes, config.input.verify)
        self.target = config.objective.targets() if config.objective else None
        self.modalities: Mapping[str, ModalityConfig] = config.modalities.by_name()
        fields = {name: section.fields for name, section in self.modalities.items()}
        # Several read a film: one its frames, another its sound.
        self.readers_of: dict[str, list[str]] = {}
        for modality, names in fields.items():
            for name in names:
                self.readers_of.setdefault(name, []).append(modality)
        # Checks metadata, and that there is something to decode; decodes nothing.
        self.checks = Decoder({}, fields, metadata=config.input.metadata, limits=config.limits)

    def inspect(self, part: Part, size: int, follow: Follow | None = None) -> Inspection:
        """Inspects a part.

        Args:
            part: A whole shard, or the beginning of one.
            size: Bytes of it.
            follow: Told of samples as they are done.

        Raises:
            InputError: The shard is not there, or cannot be reached.
            SinkError: Its index cannot be written.
        """
        inspection = Inspection()
        inspection.census.shards, inspection.census.bytes = 1, size
        inspection.census.shard_bytes.add(size)
        limits = self.checks.limits
        source = open_shard(part.shard, part.url, part.start, part.end, limits=limits)
        try:
            keys = self._inspect(source, part, inspection, follow or _nobody)
        finally:
            source.close()
        if self.write_index:
            inspection.census.indexes[_index(part)] += 1
        inspection.census.shard_samples.add(inspection.census.samples)
        inspection.census.keys.append((part, np.unique(np.asarray(keys, dtype=np.uint64))))
        return inspection

    def _inspect(
        self, source: storage.ByteSource, part: Part, found: Inspection, follow: Follow
    ) -> list[int]:
        keys: list[int] = []
        census = found.census
        reported = reported_bad = 0
        again = None if is_packed(part.shard) else source  # packed shards are read forward only
        tally = Tally()
        for item in outline_part(source, part, self.checks.limits, tally):
            if isinstance(item, Fault):
                found.refuse(item)
                continue
            keys.append(key_hash(item.key))
            census.samples += 1
            census.members += len(item.members)
            census.sample_bytes.add(item.size)
            for name, member in item.members:
                census.measure(census.field_bytes, name, member.size)
            fault = item.fault or _Look(self, again, part.shard, item, census).run()
            good = fault is None or fault.reason in NOTES
            if fault is not None:
                (found.note if good else found.refuse)(fault)
            census.good += good
            if good and self.num_picks:
                self._draw(found.picks, part, item)
            if census.samples - reported >= TOLD_SAMPLES:
                follow(census.samples - reported, census.bad - reported_bad)
                reported, reported_bad = census.samples, census.bad
        follow(census.samples - reported, census.bad - reported_bad)
        census.read += tally.samples
        for kind, number in tally.strays.items():
            census.count(census.strays, kind, number)
            census.example(f"strays.{kind}", f"{number} in {part.shard}")
        return keys

    def _draw(self, picks: list[Pick], part: Part, item: Outline) -> None:
        rank = -key_hash(f"{self.seed}:{part.shard}:{item.ordinal}")
        if len(picks) < self.num_picks:
            heapq.heappush(picks, Pick(rank, part, replace(item, heads={})))
        elif rank > picks[0].rank:
            heapq.heapreplace(picks, Pick(rank, part, replace(item, heads={})))


def _nobody(samples: int, bad: int) -> None:
    """Follows nothing: on a worker, the driver tells of whole groups."""


def _index(part: Part) -> str:
    """Writes the index of a shard; says ``written``, or why it was not."""
    url = index_url(part.url)
    if url is None:
        return "compressed"
    if part.end is not None:
        return "not looked through to its end"
    try:
        write_index(part.url, url)
    except ShardError as error:
        return error.reason
    return "written"


class _Look:
    """One sample that is being looked into.

    Args:
        inspector: What is asked of it.
        source: The shard, None where it is read forward only.
        shard: Its name.
        item: The sample.
        census: Gets the counts.
    """

    def __init__(
        self,
        inspector: Inspector,
        source: storage.ByteSource | None,
        shard: str,
        item: Outline,
        census: Census,
    ) -> None:
        self.inspector, self.shard, self.item, self.census = inspector, shard, item, census
        self.members: Mapping[str, Member] = dict(item.members)
        self.contents = {
            name: Content(member.size, item.heads[member.offset], source, member.offset)
            for name, member in item.members
        }

    def run(self) -> Fault | None:
        """Looks into the members; the fault, or the remark, is what decoding would give, as far as headers tell."""
        census, modalities = self.census, self.inspector.modalities
        # Of several fields of a modality, the first configured one is decoded.
        used = {
            modality: next((name for name in section.fields if name in self.members), "")
            for modality, section in modalities.items()
        }
        present = [modality for modality, name in used.items() if name]
        self._label()
        fault = self._check()
        for name, content in self.contents.items():
            for modality, facts in self._facts(name, content).items():
                noted = fault is None or fault.reason in NOTES
                if used[modality] != name:
                    continue
                if facts.is_absent:
                    present.remove(modality)
                elif facts.fault is not None and noted:
                    fault = self._fault(under_name(facts.fault, modality), modality)
        if fault is None and any(used.values()) and not present:
            fault = self._fault(NOTHING)
        census.count(census.modalities, "+".join(present) or NO_MODALITY)
        return fault

    def _facts(self, name: str, content: Content) -> dict[str, Facts]:
        """Is a member what its name says, and what does its header tell each modality that reads it?"""
        readers = self.inspector.readers_of.get(name, [])
        if not readers and name.rpartition(".")[2] not in EXTENSIONS:
            return {}
        kind = sniff(bytes(content.read(0, SNIFFED_BYTES)))
        if misnamed(name, kind):
            subject = f"{name}.{kind}"
            self.census.count(self.census.misnamed, subject)
            self.census.example(subject, f"{self.item.key} in {self.shard}")
        facts = {}
        for modality in readers:
            self.census.count_in(self.census.formats, modality, kind)
            config = self.inspector.modalities[modality]
            facts[modality] = config.probe(content, name, kind, self.inspector.rules)
            self.census.add_facts(modality, facts[modality])
        return facts

    def _label(self) -> None:
        target = self.inspector.target
        if target is None:
            return
        try:
            depth = self.inspector.checks.limits.json_depth
            sample = self._small(*(label_place(path, self.members)[0] for path in target.places))
            target.read(sample, depth)
            for path in target.places if target.countable else ():
                self.census.label(written_label(sample, path, depth))
        except SampleError as error:
            self.census.unlabelled[error.reason] += 1
            self.census.example(error.reason, f"{self.item.key} in {self.shard}: {error.what}")

    def _check(self) -> Fault | None:
        """Metadata, and whether there is anything to decode, as decoding checks them."""
        checks = self.inspector.checks
        try:
            checks.check(self._small(*checks.metadata))
        except SampleError as error:
            return self._fault(error)
        return None

    def _small(self, *names: str) -> Sample:
        """The sample, with the content of some fields only, and without those of them that are too large to be read."""
        fields = {}
        for name, member in self.members.items():
            data = memoryview(b"")
            if name in names:
                if member.size > self.inspector.rules.read_bytes:
                    continue
                data = self.contents[name].whole()
            fields[name] = Field(data, member.offset, member.size)
        return Sample(self.item.key, self.shard, self.item.ordinal, fields)

    def _fault(self, error: SampleError, modality: str = "") -> Fault:
        member = self.members.get(error.field)
        offset, size = (member.offset, member.size) if member else (None, None)
        where = Source(self.shard, self.item.key, error.field or None, offset, size)
        fields = self.inspector.checks.fields
        setting = setting_of(error, modality, self.members, fields)
        return Fault(where, self.item.ordinal, error.reason, error.what, setting)
