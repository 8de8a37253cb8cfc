"""Packs a folder or a table into a set of WebDataset shards, split by hash of the key."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import BadDataError, ConfigError, SampleError
from pipeline.logs import event
from pipeline.packing.census import Census
from pipeline.packing.columns import unread_fields
from pipeline.packing.config import PackConfig
from pipeline.packing.entries import Entry, Rejected
from pipeline.packing.folder import read_folder
from pipeline.packing.reading import Reading
from pipeline.packing.rows import read_rows
from pipeline.packing.split import check_fractions, split_of, stratified
from pipeline.packing.tables import TABLE_SUFFIXES
from pipeline.shards.writer import ShardInfo, ShardSetWriter

logger = logging.getLogger(__name__)

_TABLE_ONLY = (
    "columns", "key", "values", "text_from_file", "allow_outside", "delimiter", "encoding", "split_column", "group",
)  # fmt: skip
_FOLDER_ONLY = ("label", "layout", "extension")
_HEAD = 512  # bytes of a field that tell what it is


@dataclass
class PackResult:
    """What became of a source.

    Attributes:
        samples_read: Rows of the table, or samples of the folder, counted where they are read.
        census: The samples in the shards.
        quarantined: Why, for each of those that could not be packed.
        notes: What had to be guessed, or looks like a mistake.
        shards: The shards of the set, sorted by name.
    """

    samples_read: int = 0
    census: Census = field(default_factory=Census)
    quarantined: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shards: tuple[ShardInfo, ...] = ()

    @property
    def samples_written(self) -> int:
        """Samples in the shards."""
        return self.census.samples.total()

    @property
    def samples_quarantined(self) -> int:
        """Samples that could not be packed."""
        return len(self.quarantined)

    @property
    def samples_per_split(self) -> Mapping[str, int]:
        """Split -> samples written."""
        return dict(self.census.samples)

    @property
    def samples_per_field(self) -> Mapping[str, int]:
        """Field -> samples written that have it."""
        return dict(sorted(self.census.fields.items()))


def pack(
    config: PackConfig,
    reading: Reading | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PackResult:
    """Packs ``config.source`` into ``OUTPUT/NAME-SPLIT-000000.tar`` and so on.

    Samples are sorted by key, so the same source always makes the same bytes. The set is published whole and replaces
    an earlier one of the same name; if the job fails, the earlier one stays. A sample that the other jobs would refuse
    without decoding it is not packed. A table's rows are held in memory, the files they name are not.

    Args:
        config: What is packed, and how.
        reading: How the other jobs read fields; all modalities with their defaults unless given.
        on_progress: Called after each sample with the number done and the number in all.

    Returns:
        Counts, shards, notes, and the samples that could not be packed, each with its reason.

    Raises:
        ConfigError: The source or a setting cannot be used, or two samples have the same key.
        BadDataError: There are samples, but none can be packed.
        LockedError: Another process is packing into ``output``.
        SinkError: ``output`` cannot be written.
    """
    reading = reading or Reading()
    check_fractions(config.split)
    result = PackResult()
    entries: list[Entry] = []
    for item in _read_source(config, reading, result.notes):
        result.samples_read += 1
        if isinstance(item, Entry):
            entries.append(item)
        else:
            result.quarantined.append(item)
    if not result.samples_read:
        raise ConfigError(
            "there is nothing to pack",
            where=config.source,
            fix="; ".join(result.notes) or "check pack.source",
        )
    entries.sort(key=lambda entry: entry.key)
    _check_duplicates(entries)
    writer = ShardSetWriter(
        config.output,
        name=config.name,
        max_shard_bytes=config.max_shard_bytes,
        max_shard_samples=config.max_shard_samples,
    )
    with contextlib.closing(writer):
        _write(writer, entries, config, reading, result, on_progress)
        if not result.samples_written:
            raise _all_bad(result, config.source)
        result.shards = writer.publish()
    result.notes += result.census.notes()
    result.quarantined.sort(key=lambda row: row.ordinal)
    event(
        logger,
        "packed",
        samples=result.samples_written,
        bad=len(result.quarantined),
        shards=len(result.shards),
    )
    return result


def _write(
    writer: ShardSetWriter,
    entries: Sequence[Entry],
    config: PackConfig,
    reading: Reading,
    result: PackResult,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    splits = _splits(entries, config, reading)
    for split in config.split if config.split_column is None else sorted(set(splits.values())):
        result.census.samples[split] = 0
    heads: dict[str, bytes] = {}
    for num_done, entry in enumerate(entries, start=1):
        try:
            fields = {name: reading.load(name, content) for name, content in entry.fields.items()}
            for name, data in fields.items():
                heads.setdefault(name, data[:_HEAD])
            reading.check(entry.key, fields)
            split = splits[entry.key]
            writer.write(split, entry.key, fields)
            result.census.add(split, fields, reading.label_of(fields), reading)
        except SampleError as error:
            result.quarantined.append(
                Rejected(
                    entry.key, error.field, error.reason, error.what, entry.origin, entry.ordinal
                )
            )
        if on_progress:
            on_progress(num_done, len(entries))
    result.notes += (
        f"no modality reads the field {name}: {reading.mend(name, heads[name])}"
        for name in unread_fields(heads, reading)
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
    name = reading.label_field
    if name not in entry.fields:
        return ""
    try:
        return reading.label_of({name: reading.load(name, entry.fields[name])}) or ""
    except SampleError:
        # It is told when the sample is read.
        return ""


def _read_source(
    config: PackConfig, reading: Reading, notes: list[str]
) -> Iterable[Entry | Rejected]:
    path = Path(config.source)
    if config.split_column is not None:
        together = [name for name in ("stratify", "group") if getattr(config, name)]
        together += ["split"] if "split" in config.model_fields_set else []
        if together:
            raise ConfigError(
                f"pack.split_column names the splits, so pack.{together[0]} has no meaning",
                where="pack",
                fix="leave one of them out",
            )
    if path.is_dir():
        _refuse(path, "a folder", config, _TABLE_ONLY)
        if Path(config.output).resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                "the output lies inside the source, so the shards would be packed next time",
                where=f"pack.output={config.output}",
                fix="choose a folder outside pack.source",
            )
        return read_folder(path, config, reading, notes)
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        _refuse(path, "a table", config, _FOLDER_ONLY)
        return read_rows(path, config, reading, notes)
    what = "is neither a folder nor a table" if path.exists() else "does not exist"
    raise ConfigError(
        f"the source {what}",
        where=f"pack.source={config.source}",
        fix=f"give a local folder, or a file that ends in {', '.join(TABLE_SUFFIXES)}",
    )


def _refuse(source: Path, kind: str, config: PackConfig, names: Iterable[str]) -> None:
    for name in names:
        if getattr(config, name) != PackConfig.model_fields[name].get_default(
            call_default_factory=True
        ):
            raise ConfigError(
                f"pack.{name} has no meaning for {kind}", where=str(source), fix="leave it out"
            )


def _check_duplicates(entries: Sequence[Entry]) -> None:
    for first, second in itertools.pairwise(entries):
        if first.key == second.key:
            raise ConfigError(
                f"two samples have the key {first.key!r}",
                where=f"{first.origin}, {second.origin}",
                fix="rename one, or choose another pack.key",
            )


def _all_bad(result: PackResult, source: str) -> BadDataError:
    first = min(result.quarantined, key=lambda row: row.ordinal)
    return BadDataError(
        f"none of {len(result.quarantined)} samples can be packed; the first: {first.detail}",
        where=f"{first.origin} key={first.key} field={first.field}",
        fix="; ".join([*result.notes, f"check {source} and the settings of pack"]),
        reasons=Counter(row.reason for row in result.quarantined),
    )
