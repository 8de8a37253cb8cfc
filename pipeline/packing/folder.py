"""Folders as a source of packing: files that share a stem are one sample."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import ConfigError, SampleError
from pipeline.packing.config import PackConfig
from pipeline.packing.entries import Entry, Rejected
from pipeline.packing.keys import escape_key
from pipeline.packing.reading import Reading
from pipeline.packing.tables.table import TABLE_SUFFIXES
from pipeline.shards.tar.names import check_extensions
from pipeline.shards.tar.strays import stray_kind
from pipeline.storage import walk_files

_TABLES = (*TABLE_SUFFIXES, ".xlsx", ".xls", ".ods", ".arrow", ".feather")
# What people call the folders of splits.
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
EXAMPLES = 3
# Of the stems of two folders, how many both have at least where they are joined.
_SHARED = 0.5


def read_folder(
    folder: Path, config: PackConfig, reading: Reading, notes: list[str]
) -> Iterator[Entry | Rejected]:
    """Reads a folder tree, one sample for all files that share a stem, sorted by key.

    The key is the path below ``folder`` up to the first dot of the file name, and the rest, in lower case, is the
    field: ``cats/001.JPG`` and ``cats/001.seg.png`` are the fields ``jpg`` and ``seg.png`` of the sample ``cats/001``.
    Where the layout is joined, the path counts from the first sub-folder, so that ``images/001.jpg`` and
    ``captions/001.txt`` are one sample. Hidden files and folders are left out, as are tables and what desktops leave
    behind; links are followed.

    Args:
        folder: A local folder.
        config: Its layout, where extensions begin, and whether the first sub-folder's name is the label.
        reading: How the other jobs read fields.
        notes: Gets a sentence for what was left out or joined.

    Yields:
        Samples, and files that cannot be used.

    Raises:
        ConfigError: The folder cannot be read, two files are the same field of one sample, or a labelled sample has a
            ``cls`` file as well.
    """
    files = _Files.find(folder, config, reading)
    notes += files.notes()
    joined = config.layout == "joined" or (
        config.layout == "auto" and _is_joined(files, config, reading)
    )
    if joined and config.layout == "auto":
        names = ", ".join(sorted(files.folders()))
        notes.append(
            f"files of the same name in {names} were joined into one sample; pack.layout=flat keeps them apart"
        )
    splits = sorted(_SPLITS.intersection(files.folders()))
    if len(splits) > 1:
        notes.append(
            f"the folders {', '.join(splits)} look like splits, and were split anew: to keep them, pack each alone, as "
            f"in pack.source={folder / splits[0]} pack.split='{{{splits[0]}: 1}}' pack.name={splits[0]}"
        )
    samples: defaultdict[str, dict[str, bytes | Path]] = defaultdict(dict)
    for file in files.named:
        stem = file.stem.partition("/")[2] if joined and "/" in file.stem else file.stem
        if file.field in samples[stem]:
            raise ConfigError(
                f"two files are the field {file.field} of the sample {stem}",
                where=f"{samples[stem][file.field]!s}, {file.path}",
                fix="rename one of them" + (", or set pack.layout=flat" if joined else ""),
            )
        samples[stem][file.field] = file.path
    for ordinal, stem in enumerate(sorted(samples)):
        fields = samples[stem]
        if config.label == "folder":
            fields = _with_label(stem, fields, folder)
        yield _entry(stem, fields, ordinal)
    for ordinal, name in enumerate(sorted(files.bare), start=len(samples)):
        detail = "a file without an extension belongs to no field"
        yield Rejected(name, "", "no_extension", detail, name, ordinal)


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is a field of a sample: the path below the folder without the extension, and the extension."""

    path: Path
    stem: str
    field: str


@dataclass
class _Files:
    """The files of a folder tree.

    Attributes:
        named: Those that are fields of samples.
        bare: Those without an extension.
        passed_over: What kind of file is no sample -> examples of them, and their number.
    """

    named: list[_File] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def find(cls, folder: Path, config: PackConfig, reading: Reading) -> _Files:
        """Lists a folder tree."""
        files = cls()
        for path in _walk(folder):
            relative = path.relative_to(folder)
            name = path.name
            where = relative.as_posix()
            split = name.rpartition if config.extension == "last_dot" else name.partition
            stem, dot, extension = split(".")
            extension = extension.lower()
            if stray_kind(where) is not None:
                files.passed_over["left by systems and editors"].append(where)
            elif name.lower().endswith(_TABLES) and not reading.kind(extension):
                files.passed_over["tables (to pack one, set pack.source to it)"].append(where)
            elif not dot or not stem or not extension:
                files.bare.append(where)
            else:
                files.named.append(_File(path, relative.with_name(stem).as_posix(), extension))
        return files

    def folders(self) -> Mapping[str, list[_File]]:
        """First sub-folder -> its files."""
        inside: defaultdict[str, list[_File]] = defaultdict(list)
        for file in self.named:
            first, slash, _ = file.stem.partition("/")
            inside[first if slash else ""].append(file)
        return inside

    def notes(self) -> Iterator[str]:
        """What was passed over."""
        for kind, names in self.passed_over.items():
            more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
            yield f"no samples, {kind}: {', '.join(names[:EXAMPLES])}{more}"


def _is_joined(files: _Files, config: PackConfig, reading: Reading) -> bool:
    """Whether the sub-folders hold one modality each, another one each, and the same names."""
    folders = files.folders()
    if config.label == "folder" or len(folders) < 2 or "" in folders:
        return False
    kinds: list[str] = []
    stems: list[set[str]] = []
    for inside in folders.values():
        of_files = Counter(_kind(file.field, reading) for file in inside)
        if len(of_files) != 1:
            return False
        kinds += of_files
        stems.append({file.stem.partition("/")[2] for file in inside})
    if len(set(kinds)) < len(kinds):
        return False
    return all(
        len(one & two) >= _SHARED * min(len(one), len(two))
        for one, two in itertools.combinations(stems, 2)
    )


def _kind(extension: str, reading: Reading) -> str:
    """What a file is: image, text, ..., or its extension where that says nothing."""
    kind = reading.kind(extension)
    if kind in ("", "metadata"):
        return reading.kind_of_content(extension) if not kind else extension
    return kind


def _entry(stem: str, fields: dict[str, bytes | Path], ordinal: int) -> Entry | Rejected:
    origin = next((str(path) for path in fields.values() if isinstance(path, Path)), stem)
    key = stem
    try:
        key = escape_key(stem)
        check_extensions(fields)
    except SampleError as error:
        return Rejected.of(error, key, origin, ordinal)
    return Entry(key, key, origin, ordinal, fields)


def _with_label(key: str, fields: dict[str, bytes | Path], folder: Path) -> dict[str, bytes | Path]:
    name, slash, _ = key.partition("/")
    if not slash:
        return fields
    if "cls" in fields:
        raise ConfigError(
            f"the sample {key} has a label twice, from its folder and from a cls file",
            where=str(folder),
            fix="leave out pack.label, or the cls files",
        )
    return {**fields, "cls": name.encode("utf-8", "surrogateescape")}


def _walk(folder: Path) -> Iterator[Path]:
    """Yields the files of a tree in order; a dangling link among them, which is told when it is read."""
    try:
        os.stat(folder)  # which must be there
        names = sorted(name for name, _ in walk_files(str(folder), hidden=False, dangling=True))
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be read: {error.strerror}",
            where=str(error.filename or folder),
            fix="check pack.source",
        ) from error
    yield from (folder / name for name in names)
