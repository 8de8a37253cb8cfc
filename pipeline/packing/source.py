"""What is to be packed: all samples of a folder or a table, their files not read yet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.packing.config import PackConfig
from pipeline.packing.entries import Entry, Rejected
from pipeline.packing.folder import read_folder
from pipeline.packing.reading import Reading
from pipeline.packing.split import check_fractions
from pipeline.packing.tables.rows import read_rows
from pipeline.packing.tables.table import TABLE_SUFFIXES

_TABLE_ONLY = (
    "columns", "key", "values", "text_from_file", "root", "allow_outside", "delimiter", "encoding", "split_column",
    "group",
)  # fmt: skip
_FOLDER_ONLY = ("label", "layout", "extension")


@dataclass
class Source:
    """The samples of a source.

    Attributes:
        samples_read: Rows of the table, or samples of the folder.
        entries: Those that can be packed as far as that is known, sorted by key.
        rejected: Those that cannot.
        notes: What had to be guessed, or looks like a mistake.
    """

    samples_read: int = 0
    entries: list[Entry] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_source(config: PackConfig, reading: Reading) -> Source:
    """Reads a folder or a table.

    Raises:
        ConfigError: It or a setting cannot be used, it holds nothing, or two samples have the same key.
    """
    check_fractions(config.split)
    _check_together(config)
    source = Source()
    for item in _items(config, reading, source.notes):
        source.samples_read += 1
        if isinstance(item, Entry):
            source.entries.append(item)
        else:
            source.rejected.append(item)
    if not source.samples_read:
        raise ConfigError(
            "there is nothing to pack",
            where=config.source,
            fix="; ".join(source.notes) or "check pack.source",
        )
    source.entries.sort(key=lambda entry: entry.key)
    _check_duplicates(source.entries)
    return source


def _check_together(config: PackConfig) -> None:
    if config.split_column is not None:
        together = [name for name in ("stratify", "group") if getattr(config, name)]
        together += ["split"] if "split" in config.model_fields_set else []
        if together:
            raise ConfigError(
                f"pack.split_column names the splits, so pack.{together[0]} has no meaning",
                where="pack",
                fix="leave one of them out",
            )


def _items(config: PackConfig, reading: Reading, notes: list[str]) -> Iterable[Entry | Rejected]:
    path = Path(config.source)
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
