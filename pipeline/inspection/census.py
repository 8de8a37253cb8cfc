"""What the headers and small members of shards say: counted part by part, added up for each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from pipeline.metrics.distribution import Distribution
from pipeline.modalities.facets import Facts
from pipeline.modalities.text.repair import normalized
from pipeline.sample import NOTES, Fault
from pipeline.shards.planning.plan import Part

MAX_NAMES = 1000  # distinct fields, labels, ... counted one by one; the rest together, as OTHER
MAX_EXAMPLES = 5
OTHER = "(other)"


@dataclass
class Census:
    """Counts of one split, or of a stretch of it; counts of stretches add up.

    Attributes:
        shards: Shards looked at.
        shards_damaged: Those with damage.
        bytes: Size of the shards.
        samples: Samples, the bad ones included.
        read: The same, as they were counted where the archives were walked.
        good: Samples that nothing speaks against.
        bad: Samples that decoding is bound to refuse.
        noted: Good samples with something odd about them.
        members: Files in the shards.
        sample_bytes: Content of each sample.
        shard_samples: Samples of each shard.
        shard_bytes: Size of each shard.
        modalities: Modalities of a sample joined by ``+`` -> samples.
        field_bytes: Field -> sizes of its members.
        formats: Modality -> format found by content -> members.
        ranges: ``modality.quantity`` -> its values: width, seconds, characters, ...
        values: ``modality.quantity`` -> value -> members, for quantities of few values.
        notes: ``modality.what`` -> members that decoding will cut or enlarge.
        misnamed: ``field.found`` -> members whose content is not what the extension promises.
        labels: Label -> samples.
        respelled: Label -> samples in which it is written in another Unicode form than NFC.
        unlabelled: Reason -> samples without a usable label.
        strays: Kind -> members that belong to no sample (:mod:`pipeline.shards.tar.strays`).
        damages: Reason -> places where a shard is damaged.
        reasons: Reason -> samples that decoding is bound to refuse.
        remarks: Reason -> good samples with something odd about them.
        settings: Reason -> setting that would let them through -> samples and damages.
        indexes: What became of each shard's index: ``written``, or why it was not.
        examples: Subject -> the first few places, as text.
        keys: (shard, hashes of its distinct keys, (N,) uint64 ascending).
    """

    shards: int = 0
    shards_damaged: int = 0
    bytes: int = 0
    samples: int = 0
    read: int = 0
    good: int = 0
    bad: int = 0
    noted: int = 0
    members: int = 0
    sample_bytes: Distribution = field(default_factory=Distribution)
    shard_samples: Distribution = field(default_factory=Distribution)
    shard_bytes: Distribution = field(default_factory=Distribution)
    modalities: Counter[str] = field(default_factory=Counter)
    field_bytes: dict[str, Distribution] = field(default_factory=dict)
    formats: dict[str, Counter[str]] = field(default_factory=dict)
    ranges: dict[str, Distribution] = field(default_factory=dict)
    values: dict[str, Counter[str]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    misnamed: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    respelled: Counter[str] = field(default_factory=Counter)
    unlabelled: Counter[str] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)
    damages: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    settings: dict[str, Counter[str]] = field(default_factory=dict)
    indexes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    keys: list[tuple[Part, np.ndarray]] = field(default_factory=list)

    def merge(self, other: Census) -> None:
        """Adds the counts of another stretch."""
        for name in (member.name for member in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Distribution):
                mine.merge(theirs)
            elif isinstance(mine, Counter):
                add_counts(mine, theirs)
            elif isinstance(mine, dict):
                self._merge_named(mine, theirs)
            elif isinstance(mine, list):
                mine.extend(theirs)
            else:
                setattr(self, name, mine + theirs)

    def count(self, counts: Counter[str], name: str, number: int = 1) -> None:
        """Counts a name, under ``(other)`` where there are too many of them."""
        counts[name if name in counts or len(counts) < MAX_NAMES else OTHER] += number

    def count_in(self, groups: dict[str, Counter[str]], group: str, name: str) -> None:
        """Counts a name among those of a group."""
        self.count(groups.setdefault(group, Counter()), name)

    def measure(self, ranges: dict[str, Distribution], name: str, value: float) -> None:
        """Adds a value to a named distribution."""
        if name not in ranges:
            name = name if len(ranges) < MAX_NAMES else OTHER
            ranges.setdefault(name, Distribution())
        ranges[name].add(value)

    def add_facts(self, modality: str, facts: Facts) -> None:
        """Counts what the header of a member of a modality tells."""
        for name, number in facts.ranges.items():
            self.measure(self.ranges, f"{modality}.{name}", number)
        for name, value in facts.values.items():
            self.count_in(self.values, f"{modality}.{name}", value)
        for note in facts.notes:
            self.notes[f"{modality}.{note}"] += 1

    def example(self, subject: str, place: str) -> None:
        """Keeps a place as an example, if there are not enough already."""
        places = self.examples.setdefault(subject, [])
        if len(places) < MAX_EXAMPLES:
            places.append(place)

    def label(self, written: str) -> None:
        """Counts a label as the jobs read it, and whether that is as it is written."""
        label = normalized(written)
        self.count(self.labels, label)
        if label != written:
            self.count(self.respelled, label)

    def refuse(self, fault: Fault) -> None:
        """Counts a quarantine row, and keeps it as an example of its reason."""
        source = fault.source
        if fault.setting:
            self.count_in(self.settings, fault.reason, fault.setting)
        if source.key is None:
            self.shards_damaged = 1
            self.damages[fault.reason] += 1
            place = f"{source.shard} at byte {source.offset or 0}: {fault.detail}"
            self.example(f"damage.{fault.reason}", place)
        else:
            self.bad += 1
            self.reasons[fault.reason] += 1
            self.example(fault.reason, f"{source.key} in {source.shard}: {fault.detail}")

    def note(self, fault: Fault) -> None:
        """Counts something odd about a good sample."""
        self.noted += 1
        self.remarks[fault.reason] += 1
        place = f"{fault.source.key} in {fault.source.shard}: {fault.detail}"
        self.example(fault.reason, place)

    def forgive(self, fault: Fault) -> None:
        """Takes back what was counted of a sample, for which there is a graver reason."""
        if fault.reason in NOTES:
            self.good -= 1
            self.noted -= 1
            self.remarks[fault.reason] -= 1
        else:
            self.bad -= 1
            self.reasons[fault.reason] -= 1
        self.remarks += Counter()  # which keeps those above 0
        self.reasons += Counter()

    def _merge_named(self, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
        for name, value in theirs.items():
            if isinstance(value, Distribution):
                has_room = name in mine or len(mine) < MAX_NAMES
                mine.setdefault(name if has_room else OTHER, Distribution()).merge(value)
            elif isinstance(value, Counter):
                add_counts(mine.setdefault(name, Counter()), value)
            else:
                mine[name] = (mine.get(name, []) + value)[:MAX_EXAMPLES]


def add_counts(mine: Counter[str], theirs: Mapping[str, int]) -> None:
    """Adds counts to others, under ``(other)`` where there are too many names."""
    for name, number in theirs.items():
        mine[name if name in mine or len(mine) < MAX_NAMES else OTHER] += number
