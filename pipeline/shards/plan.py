"""Patterns -> shards -> parts: what there is to do, from the shards alone."""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import PurePosixPath

from braceexpand import braceexpand

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.shards.grouping import group_members
from pipeline.shards.tar import Damage, scan

PART_BYTES = 32 << 20
SPECIAL = re.compile(r"[*?\[{]")


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file.

    Attributes:
        name: Path below the pattern's fixed prefix; the same wherever the data lies.
        url: Where it lies now.
        size: Bytes.
        version: Changes with the content: modification time or the store's tag.
    """

    name: str
    url: str
    size: int
    version: str


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
        duplicates: Ordinals of samples whose key an earlier part of the shard has.
    """

    shard: str
    url: str
    fingerprint: str
    index: int = 0
    start: int = 0
    end: int | None = None
    first_ordinal: int = 0
    duplicates: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """Name of the part, safe in file names: the same shard content and range give the same name."""
        words = f"{self.fingerprint}:{self.start}:{self.end}"
        return blake2b(words.encode(), digest_size=12).hexdigest()

    def to_json(self) -> str:
        """The part as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Part:
        """The part that :meth:`to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "duplicates": tuple(values["duplicates"])})


def expand(patterns: str | Sequence[str], *, where: str = "input") -> list[Shard]:
    """Finds the shards that match: braces, globs, folders, lists of them; sorted by name.

    Raises:
        ConfigError: A pattern matches nothing, or two shards get the same name.
    """
    found: dict[str, Shard] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matched = list(_expand_one(pattern))
        if not matched:
            raise ConfigError(
                f"no shard matches {pattern}",
                where=where,
                fix="check the path; patterns are relative to the folder the job is started in",
            )
        for shard in matched:
            other = found.setdefault(shard.name, shard)
            if other.url != shard.url:
                raise ConfigError(
                    f"two shards are called {shard.name}",
                    where=f"{other.url} and {shard.url}",
                    fix="name their common folder in one pattern, as in data/{a,b}/*.tar",
                )
    return [found[name] for name in sorted(found)]


def _expand_one(pattern: str) -> Iterator[Shard]:
    special = SPECIAL.search(pattern)
    fixed = pattern[: special.start()] if special else pattern
    if not special:
        folder = storage.list_files(pattern, recursive=True)
        tars = [info for info in folder if info.url.endswith(".tar")]
        info = storage.file_info(pattern)
        prefix = pattern.rstrip("/") + "/" if info is None else _parent(pattern)
        yield from (_shard(found, prefix) for found in ([info] if info else tars))
        return
    prefix = _parent(fixed)
    for plain in braceexpand(pattern):
        yield from (_shard(info, prefix) for info in _glob(plain))


def _glob(pattern: str) -> list[storage.FileInfo]:
    wild = re.search(r"[*?\[]", pattern)
    if not wild:
        info = storage.file_info(pattern)
        return [info] if info else []
    root = _parent(pattern[: wild.start()])
    rest = pattern[len(root) :]
    infos = storage.list_files(root or ".", recursive="/" in rest)
    names = [info.url.removeprefix("./") if not root else info.url for info in infos]
    return [
        info for name, info in zip(names, infos, strict=True) if _matches(name[len(root) :], rest)
    ]


def _matches(name: str, pattern: str) -> bool:
    """Glob matching in which only ``**`` crosses folders."""
    if "**" in pattern:
        loose = pattern.replace("**/", "*")
        return fnmatch.fnmatchcase(name, loose)
    pieces, wanted = PurePosixPath(name).parts, PurePosixPath(pattern).parts
    return len(pieces) == len(wanted) and all(map(fnmatch.fnmatchcase, pieces, wanted))


def _parent(path: str) -> str:
    return path[: path.rfind("/") + 1]


def _shard(info: storage.FileInfo, prefix: str) -> Shard:
    name = info.url.removeprefix(prefix).removeprefix("./")
    return Shard(name, info.url, info.size, info.version)


def plan(shards: Sequence[Shard], part_bytes: int = PART_BYTES) -> list[Part]:
    """Cuts shards into parts of about ``part_bytes``, at sample boundaries. Shards below it are not opened."""
    return [part for shard in shards for part in plan_shard(shard, part_bytes)]


def plan_shard(shard: Shard, part_bytes: int = PART_BYTES) -> list[Part]:
    """The parts of one shard; see :func:`plan`."""
    fingerprint = shard_fingerprint(shard)
    whole = Part(shard.name, shard.url, fingerprint)
    if shard.size <= part_bytes:
        return [whole]
    try:
        source = storage.open_source(shard.url)
    except OSError:
        return [whole]  # reading it will say why
    try:
        cuts, duplicates = _cuts(source, part_bytes)
    finally:
        source.close()
    ends = [offset for offset, _ in cuts[1:]] + [None]
    parts = []
    for index, ((start, ordinal), end) in enumerate(zip(cuts, ends, strict=True)):
        until = cuts[index + 1][1] if end is not None else None
        inside = [d for d in duplicates if d >= ordinal and (until is None or d < until)]
        parts.append(
            Part(shard.name, shard.url, fingerprint, index, start, end, ordinal, tuple(inside))
        )
    return parts


def limit(parts: Sequence[Part], max_samples: int) -> list[Part]:
    """The first parts that hold ``max_samples`` samples together, the last of them cut at a sample's header."""
    kept: list[Part] = []
    left = max_samples
    for part in parts:
        if not left:
            break
        starts = _sample_starts(part, left + 1)
        kept.append(replace(part, end=starts[left]) if len(starts) > left else part)
        left -= min(left, len(starts))
    return kept


def _sample_starts(part: Part, at_most: int) -> list[int]:
    try:
        source = storage.open_source(part.url)
    except OSError:
        return []  # reading it will say why
    try:
        groups = group_members(scan(source, part.start, part.end))
        starts = (group[1][0][1].header for group in groups if not isinstance(group, Damage))
        return list(itertools.islice(starts, at_most))
    finally:
        source.close()


def shard_fingerprint(shard: Shard) -> str:
    """Digest of a shard's name, size and version."""
    words = f"{shard.name}:{shard.size}:{shard.version}"
    return blake2b(words.encode(), digest_size=12).hexdigest()


def _cuts(source: storage.ByteSource, part_bytes: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Where parts begin, as (offset, ordinal of the first sample), and the ordinals of repeated keys."""
    cuts, duplicates, seen = [(0, 0)], [], set[str]()
    ordinal = 0
    for group in group_members(scan(source)):
        if isinstance(group, Damage):
            continue
        key, members = group
        start = members[0][1].header
        if start - cuts[-1][0] >= part_bytes:
            cuts.append((start, ordinal))
        if key in seen:
            duplicates.append(ordinal)
        seen.add(key)
        ordinal += 1
    return cuts, duplicates
