"""The sources of packing: folders of files, where files that share a stem are one sample."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pipeline.errors import ConfigError, SampleError
from pipeline.shards.names import check_extensions, check_key
from pipeline.shards.table import Entry, Rejected


def read_folder(
    folder: Path, *, label: Literal["folder"] | None = None
) -> Iterator[Entry | Rejected]:
    """Reads a folder tree, one sample for all files that share a stem, sorted by key.

    The key is the path below ``folder`` up to the first dot of the file name, and the rest, in
    lower case, is the field: ``cats/001.JPG`` and ``cats/001.seg.png`` are the fields ``jpg`` and
    ``seg.png`` of the sample ``cats/001``. Hidden files and folders are left out; links are
    followed.

    Args:
        folder: A local folder.
        label: ``folder``: the first sub-folder's name is the label and becomes the field ``cls``.

    Yields:
        Samples, and files that cannot be used.

    Raises:
        ConfigError: The folder cannot be read, two files are the same field of one sample, or a
            labelled sample has a ``cls`` file as well.
    """
    samples: defaultdict[str, dict[str, bytes | Path]] = defaultdict(dict)
    bare: list[str] = []
    for path in _files(folder, folder, ()):
        relative = path.relative_to(folder)
        stem, dot, rest = path.name.partition(".")
        if not dot or not rest:
            bare.append(relative.as_posix())
            continue
        key, field = relative.with_name(stem).as_posix(), rest.lower()
        if field in samples[key]:
            raise ConfigError(
                f"two files are the field {field} of the sample {key}",
                where=f"{samples[key][field]!s}, {path}",
                fix="rename one of them",
            )
        samples[key][field] = path
    for ordinal, key in enumerate(sorted(samples)):
        fields = samples[key]
        if label == "folder":
            fields = _with_label(key, fields, folder)
        yield _checked(key, fields, ordinal)
    for ordinal, name in enumerate(sorted(bare), start=len(samples)):
        detail = "a file without an extension belongs to no field"
        yield Rejected(name, "", "no_extension", detail, name, ordinal)


def _checked(key: str, fields: dict[str, bytes | Path], ordinal: int) -> Entry | Rejected:
    origin = next((str(path) for path in fields.values() if isinstance(path, Path)), key)
    try:
        check_key(key)
        check_extensions(fields)
    except SampleError as error:
        return Rejected(key, error.field, error.reason, error.what, origin, ordinal)
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


def _files(folder: Path, root: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """Yields the files of a tree in order; a link to a folder that it lies in ends there."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be read: {error.strerror}",
            where=str(folder),
            fix="check pack.source",
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if entry.is_dir():
            yield from _files(path, root, (*above, real))
        elif entry.is_file() or entry.is_symlink():  # a dangling link is told when it is read
            yield path
