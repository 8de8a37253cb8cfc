"""Packs a folder or a table into a set of WebDataset shards, split by hash of the key."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import SampleError
from pipeline.logs import event
from pipeline.packing.census import Census, PackedSplit
from pipeline.packing.config import PackConfig
from pipeline.packing.entries import Entry, Rejected
from pipeline.packing.memory import Memory, recall, settings_of, source_digest
from pipeline.packing.reading import Reading
from pipeline.packing.source import Source, read_source
from pipeline.packing.split import split_of, stratified
from pipeline.packing.unread import unread_fields
from pipeline.shards.writing.writer import ShardInfo, ShardSetWriter

logger = logging.getLogger(__name__)

# Bytes of a field that tell what it is.
_HEAD = 512


@dataclass(frozen=True)
class PackResult:
    """What became of a source.

    Attributes:
        samples_read: Rows of the table, or samples of the folder, counted where they are read.
        samples_written: Samples in the shards.
        splits: Split -> its samples, by modality and by class (:meth:`pipeline.packing.census.Census.splits`).
        samples_per_field: Field -> samples written that have it.
        reasons: Why samples could not be packed -> how many.
        settings: Reason -> the settings that would let them through.
        notes: What had to be guessed, or looks like a mistake.
        shards: The shards of the set, sorted by name; none where no sample could be packed.
        quarantined: The samples that could not be packed; none where all was done before.
        is_done_before: Whether all this was done before, and nothing now.
    """

    samples_read: int
    samples_written: int
    splits: Mapping[str, PackedSplit]
    samples_per_field: Mapping[str, int]
    reasons: Mapping[str, int]
    settings: Mapping[str, Sequence[str]]
    notes: Sequence[str]
    shards: Sequence[ShardInfo]
    quarantined: Sequence[Rejected] = ()
    is_done_before: bool = False

    @property
    def samples_quarantined(self) -> int:
        """Samples that could not be packed."""
        return sum(self.reasons.values())

    @property
    def samples_per_split(self) -> Mapping[str, int]:
        """Split -> samples written."""
        return {name: split.samples for name, split in self.splits.items()}

    def report(self) -> dict[str, Any]:
        """What is remembered of it, ready for JSON."""
        values = asdict(self)
        del values["quarantined"], values["is_done_before"]
        return values

    @classmethod
    def remembered(cls, report: Mapping[str, Any]) -> PackResult:
        """What a :meth:`report` tells."""
        shards = tuple(ShardInfo(**shard) for shard in report["shards"])
        splits = {name: PackedSplit(**split) for name, split in report["splits"].items()}
        return cls(**{**report, "shards": shards, "splits": splits}, is_done_before=True)


def pack(
    config: PackConfig,
    reading: Reading | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PackResult:
    """Packs ``config.source`` into ``OUTPUT/NAME-SPLIT-000000.tar`` and so on.

    Samples are sorted by key, so the same source always makes the same bytes. The set is published whole and replaces
    an earlier one of the same source and settings; if the job fails, or no sample can be packed, the earlier one stays.
    Where nothing has changed since, nothing is done. A sample that the other jobs would refuse without decoding it is
    not packed. A table's rows are held in memory, the files they name are not.

    Args:
        config: What is packed, and how.
        reading: How the other jobs read fields; all modalities with their defaults unless given.
        on_progress: Called after each sample with the number done and the number in all.

    Returns:
        Counts, shards, notes, and the samples that could not be packed, each with its reason.

    Raises:
        ConfigError: The source or a setting cannot be used, two samples have the same key, or the output holds shards
            of this name that were made from something else.
        LockedError: Another process is packing into ``output``.
        SinkError: ``output`` cannot be written.
    """
    reading = reading or Reading()
    recall(config)
    source = read_source(config, reading)
    digest = source_digest(Path(config.source), source.entries, source.rejected)
    writer = ShardSetWriter(
        config.output,
        name=config.name,
        max_shard_bytes=config.max_shard_bytes,
        max_shard_samples=config.max_shard_samples,
    )
    with contextlib.closing(writer):
        # Again, now that no other process can change it.
        memory = recall(config)
        if memory is not None and memory.is_of(config, digest, reading.identity()):
            return PackResult.remembered(memory.report)
        packing = _Packing(config, reading, source)
        packing.write(writer, on_progress)
        if memory is not None and memory.settings == settings_of(config):
            packing.note_change(memory, digest)
        result = packing.publish(writer, digest)
    event(
        logger,
        "packed",
        samples=result.samples_written,
        bad=result.samples_quarantined,
        shards=len(result.shards),
    )
    return result


class _Packing:
    """The samples of a source on their way into shards.

    Args:
        config: The settings of packing.
        reading: How the other jobs read fields.
        source: The samples.
    """

    def __init__(self, config: PackConfig, reading: Reading, source: Source) -> None:
        self._config = config
        self._reading = reading
        self._source = source
        self._census = Census()
        self._rejected = list(source.rejected)
        self._notes = list(source.notes)
        # Field -> the beginning of one of its contents.
        self._heads: dict[str, bytes] = {}

    def write(self, writer: ShardSetWriter, on_progress: Callable[[int, int], None] | None) -> None:
        """Reads, checks and writes all samples."""
        entries = self._source.entries
        splits = _splits(entries, self._config, self._reading)
        named = sorted(set(splits.values())) if self._config.split_column else self._config.split
        self._census.samples.update(dict.fromkeys(named, 0))
        for num_done, entry in enumerate(entries, start=1):
            try:
                self._write(writer, splits[entry.key], entry)
            except SampleError as error:
                self._rejected.append(Rejected.of(error, entry.key, entry.origin, entry.ordinal))
            if on_progress:
                on_progress(num_done, len(entries))

    def _write(self, writer: ShardSetWriter, split: str, entry: Entry) -> None:
        fields = {name: self._reading.load(name, content) for name, content in entry.fields.items()}
        for name, data in fields.items():
            self._heads.setdefault(name, data[:_HEAD])
        self._reading.check(entry.key, fields)
        writer.write(split, entry.key, fields)
        self._census.add(split, fields, self._reading.label_of(fields), self._reading)

    def note_change(self, memory: Memory, digest: str) -> None:
        """Notes that the source is not what it was."""
        if memory.is_complete and memory.source != digest:
            before = memory.report["samples_written"]
            now = self._census.samples.total()
            self._notes.append(f"the source has changed: {before} samples before, {now} now")

    def publish(self, writer: ShardSetWriter, digest: str) -> PackResult:
        """Shows the shards, and notes what they were made from; where no sample was packed, the earlier ones stay.

        Args:
            writer: Has the shards.
            digest: Of the source.
        """
        if not self._census.samples.total():
            return self.result(())
        settings, identity = settings_of(self._config), self._reading.identity()
        # First, so that a rerun after a kill amid publishing knows the shards for its own.
        Memory(settings, digest, identity, False, {}, {}).write(self._config)
        result = self.result(writer.publish())
        sizes = {shard.name: shard.num_bytes for shard in result.shards}
        Memory(settings, digest, identity, True, sizes, result.report()).write(self._config)
        return result

    def result(self, shards: Sequence[ShardInfo]) -> PackResult:
        """What became of the source."""
        from_folder = Path(self._config.source).is_dir()
        unread = unread_fields(self._heads, self._reading, from_folder=from_folder)
        return PackResult(
            samples_read=self._source.samples_read,
            samples_written=self._census.samples.total(),
            splits=self._census.splits(),
            samples_per_field=dict(sorted(self._census.fields.items())),
            reasons=dict(Counter(row.reason for row in self._rejected)),
            settings=_settings(self._rejected),
            notes=[*self._notes, *unread, *self._census.notes()],
            shards=shards,
            quarantined=sorted(self._rejected, key=lambda row: row.ordinal),
        )


def _splits(entries: Sequence[Entry], config: PackConfig, reading: Reading) -> dict[str, str]:
    """Key -> split."""
    if config.split_column is not None:
        return {entry.key: entry.split for entry in entries}
    if not config.stratify:
        return {entry.key: split_of(entry.group, config.split, config.seed) for entry in entries}
    labels: dict[str, Counter[str]] = {}
    for entry in entries:
        labels.setdefault(entry.group, Counter())[_label(entry, reading)] += 1
    # A group whose samples are of several classes counts for the most frequent one.
    classes = {
        group: min(counts, key=lambda label: (-counts[label], label))
        for group, counts in labels.items()
    }
    chosen = stratified(classes, config.split, config.seed)
    return {entry.key: chosen[entry.group] for entry in entries}


def _label(entry: Entry, reading: Reading) -> str:
    named = {name: content for name, content in entry.fields.items() if reading.is_label(name)}
    try:
        fields = {name: reading.load(name, content) for name, content in named.items()}
        return reading.label_of(fields) or ""
    except SampleError:
        # It is told when the sample is read.
        return ""


def _settings(rejected: Sequence[Rejected]) -> dict[str, list[str]]:
    named: dict[str, set[str]] = {}
    for row in rejected:
        if row.setting:
            named.setdefault(row.reason, set()).add(row.setting)
    return {reason: sorted(names) for reason, names in named.items()}
