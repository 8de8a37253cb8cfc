"""Packs a folder or a table into a set of WebDataset shards, split by hash of the key."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import BadDataError, ConfigError
from pipeline.logs import event
from pipeline.shards.folder import read_folder
from pipeline.shards.split import check_fractions, split_of
from pipeline.shards.table import TABLE_SUFFIXES, Entry, Rejected, read_table
from pipeline.shards.writer import ShardInfo, ShardSetWriter

logger = logging.getLogger(__name__)

DEFAULT_SPLIT: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


@dataclass(frozen=True, slots=True)
class PackResult:
    """What became of a source.

    Attributes:
        shards: The shards of the set, sorted by name.
        samples_read: Rows of the table, or samples of the folder.
        samples_written: Samples in the shards.
        samples_quarantined: Samples that could not be packed.
        samples_per_split: Split -> samples written.
        samples_per_field: Field -> samples written that have it.
        quarantined: Why, for each of those that could not be packed.
    """

    shards: tuple[ShardInfo, ...]
    samples_read: int
    samples_written: int
    samples_quarantined: int
    samples_per_split: Mapping[str, int]
    samples_per_field: Mapping[str, int]
    quarantined: tuple[Rejected, ...]


def pack(
    *,
    source: str | Path,
    output: str | Path,
    name: str = "data",
    columns: Mapping[str, str] | None = None,
    key: str | None = None,
    label: Literal["folder"] | None = None,
    split: Mapping[str, float] | None = None,
    group: str | None = None,
    seed: int = 0,
    max_shard_bytes: int = 256 * 1024 * 1024,
    max_shard_samples: int = 10_000,
    on_progress: Callable[[int, int], None] | None = None,
) -> PackResult:
    """Packs ``source`` into ``OUTPUT/NAME-SPLIT-000000.tar`` and so on.

    Samples are sorted by key, so the same source always makes the same bytes. The set is
    published whole and replaces an earlier one of the same name; if the job fails, the earlier
    one stays. A table's rows are held in memory, the files they name are not.

    Args:
        source: A local folder (see :func:`pipeline.shards.folder.read_folder`) or a table (see
            :func:`pipeline.shards.table.read_table`).
        output: The local folder of the shards.
        name: Name of the set.
        columns: For a table: field -> column. Fields such as txt, cls and json take the column's
            value, others the file whose path it holds; ``path:`` or ``value:`` before a column's
            name says otherwise.
        key: For a table: column of the keys; without one, rows are numbered.
        label: ``folder``, for a folder: its sub-folders are the labels.
        split: Split name -> share; train 0.8, val 0.1, test 0.1 unless given.
        group: For a table: column whose value, rather than the key, decides the split, so that
            samples that share it stay together.
        seed: Of the split.
        max_shard_bytes: Upper bound of a shard's size. A larger sample is a shard alone.
        max_shard_samples: Upper bound of the samples in a shard.
        on_progress: Called after each sample with the number done and the number in all.

    Returns:
        Counts, shards, and the samples that could not be packed, each with its reason.

    Raises:
        ConfigError: The source or a setting cannot be used, or two samples have the same key.
        BadDataError: There are samples, but none can be packed.
        LockedError: Another process is packing into ``output``.
        SinkError: ``output`` cannot be written.
    """
    fractions = dict(split or DEFAULT_SPLIT)
    check_fractions(fractions)
    found = list(_read_source(source, Path(output), columns or {}, key, label, group))
    entries = sorted((e for e in found if isinstance(e, Entry)), key=lambda entry: entry.key)
    rejected = [e for e in found if isinstance(e, Rejected)]
    if not found:
        raise ConfigError("there is nothing to pack", where=str(source), fix="check pack.source")
    _check_duplicates(entries)
    per_split: Counter[str] = Counter(dict.fromkeys(fractions, 0))
    per_field: Counter[str] = Counter()
    with ShardSetWriter(
        output, name=name, max_shard_bytes=max_shard_bytes, max_shard_samples=max_shard_samples
    ) as writer:
        for num_done, entry in enumerate(entries, start=1):
            fields = _load(entry)
            if isinstance(fields, Rejected):
                rejected.append(fields)
            else:
                split_name = split_of(entry.group, fractions, seed)
                writer.write(split_name, entry.key, fields)
                per_split[split_name] += 1
                per_field.update(fields.keys())
            if on_progress:
                on_progress(num_done, len(entries))
        if not per_split.total():
            raise _all_bad(rejected, str(source))
        shards = writer.publish()
    event(logger, "packed", samples=per_split.total(), bad=len(rejected), shards=len(shards))
    return PackResult(
        shards=shards,
        samples_read=len(found),
        samples_written=per_split.total(),
        samples_quarantined=len(rejected),
        samples_per_split=dict(per_split),
        samples_per_field=dict(sorted(per_field.items())),
        quarantined=tuple(sorted(rejected, key=lambda row: row.ordinal)),
    )


def _read_source(
    source: str | Path,
    output: Path,
    columns: Mapping[str, str],
    key: str | None,
    label: Literal["folder"] | None,
    group: str | None,
) -> Iterable[Entry | Rejected]:
    path = Path(source)
    if path.is_dir():
        _refuse(path, "a folder", {"columns": columns, "key": key, "group": group})
        if output.resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                "the output lies inside the source, so the shards would be packed next time",
                where=f"pack.output={output}",
                fix="choose a folder outside pack.source",
            )
        return read_folder(path, label=label)
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        _refuse(path, "a table", {"label": label})
        return read_table(path, columns, key=key, group=group)
    what = "is neither a folder nor a table" if path.exists() else "does not exist"
    raise ConfigError(
        f"the source {what}",
        where=f"pack.source={source}",
        fix=f"give a local folder, or a file that ends in {', '.join(TABLE_SUFFIXES)}",
    )


def _refuse(source: Path, kind: str, settings: Mapping[str, object]) -> None:
    for name, value in settings.items():
        if value:
            raise ConfigError(
                f"pack.{name} has no meaning for {kind}", where=str(source), fix="leave it out"
            )


def _check_duplicates(entries: list[Entry]) -> None:
    for first, second in itertools.pairwise(entries):
        if first.key == second.key:
            raise ConfigError(
                f"two samples have the key {first.key!r}",
                where=f"{first.origin}, {second.origin}",
                fix="rename one, or choose another pack.key",
            )


def _load(entry: Entry) -> dict[str, bytes] | Rejected:
    loaded = {}
    for field, content in entry.fields.items():
        try:
            loaded[field] = content if isinstance(content, bytes) else content.read_bytes()
        except OSError as error:
            detail = f"{content!s} cannot be read: {error.strerror}"
            return Rejected(entry.key, field, "unreadable", detail, entry.origin, entry.ordinal)
    return loaded


def _all_bad(rejected: list[Rejected], source: str) -> Exception:
    first = rejected[0]
    where = f"{first.origin} key={first.key} field={first.field}"
    return BadDataError(
        f"none of {len(rejected)} samples can be packed; the first: {first.detail}",
        where=where,
        fix=f"check {source} and the settings of pack",
    )
