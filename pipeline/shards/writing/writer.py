"""Writes sets of WebDataset shards: size-bounded, byte-identical when repeated, published whole.

A set is the shards ``NAME-SPLIT-000000.tar``, ``NAME-SPLIT-000001.tar``, ... of all splits.
"""

from __future__ import annotations

import filecmp
import logging
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pipeline.errors import ConfigError, SinkError
from pipeline.logs import event
from pipeline.shards.tar.names import check_extensions, check_key
from pipeline.shards.writing.tar_shard import TarShard, member_bytes
from pipeline.storage.locking import locks

logger = logging.getLogger(__name__)

_STAGED = ".packing"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard of a set: its file name, split, number of samples, and size in bytes."""

    name: str
    split: str
    num_samples: int
    num_bytes: int


class ShardSetWriter:
    """Writes the shards of all splits of one set, one open shard a split.

    Shards grow under hidden names in the output folder. :meth:`publish` puts all of them in place
    and removes shards of an earlier set of the same name that are no longer part of it; without
    it (an exception, a kill) the earlier set stays as it was. A shard that comes out byte for byte
    as it lies there already is left untouched. Same samples in the same order, same bytes.

    Use as a context manager; leaving it without an exception publishes.

    Args:
        output: Local folder, made if it does not exist. Locked while the writer is open.
        name: Name of the set.
        max_shard_bytes: Upper bound of a tar's size. A sample that is larger alone gets a shard of
            its own.
        max_shard_samples: Upper bound of the samples in a shard.

    Raises:
        ConfigError: A name or a bound that cannot be used.
        LockedError: Another process is packing into the folder.
        SinkError: The folder cannot be written.
    """

    def __init__(
        self, output: str | Path, *, name: str, max_shard_bytes: int, max_shard_samples: int
    ) -> None:
        _check_settings(str(output), name, max_shard_bytes, max_shard_samples)
        self._folder = Path(output)
        self._name = name
        self._max_bytes = max_shard_bytes
        self._max_samples = max_shard_samples
        self._open: dict[str, TarShard] = {}
        self._num_shards: Counter[str] = Counter()
        self._finished: list[ShardInfo] = []
        self._published: tuple[ShardInfo, ...] | None = None
        self._closed = False
        self._locks = ExitStack()
        self._locks.enter_context(locks.lock(str(self._folder)))
        self._remove_staged()

    def write(self, split: str, key: str, fields: Mapping[str, bytes]) -> None:
        """Appends a sample to the current shard of a split.

        Args:
            split: Letters, digits and underscores.
            key: Name of the sample; slashes make folders; no dot in the last part.
            fields: Extension -> content. At least one.

        Raises:
            SampleError: The key or an extension would not be read back as it was given.
            SinkError: The shard cannot be written, for example because the disk is full.
        """
        check_key(key)
        check_extensions(fields)
        size = sum(member_bytes(f"{key}.{field}", len(data)) for field, data in fields.items())
        try:
            shard = self._shard_for(split, size)
            shard.write(key, fields)
        except OSError as error:
            raise _cannot_write(self._folder, error) from error

    def publish(self) -> tuple[ShardInfo, ...]:
        """Finishes the shards and puts the set in place; returns them sorted by name.

        Safe to call twice.

        Raises:
            SinkError: The folder cannot be written.
        """
        if self._published is not None:
            return self._published
        try:
            for split in sorted(self._open):
                self._finish(split)
            shards = tuple(sorted(self._finished, key=lambda shard: shard.name))
            for shard in shards:
                self._put_in_place(shard.name)
            self._remove_superseded({shard.name for shard in shards})
            _sync_folder(self._folder)
        except OSError as error:
            raise _cannot_write(self._folder, error) from error
        self._published = shards
        return shards

    def close(self) -> None:
        """Removes what was not published and releases the folder; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for shard in self._open.values():
            shard.abandon()
        self._open.clear()
        self._remove_staged()
        self._locks.close()

    def __enter__(self) -> ShardSetWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.publish()
        finally:
            self.close()

    def _shard_for(self, split: str, size: int) -> TarShard:
        shard = self._open.get(split)
        if shard is not None and (
            shard.num_samples >= self._max_samples or shard.size_with(size) > self._max_bytes
        ):
            self._finish(split)
            shard = None
        if shard is None:
            name = f"{self._name}-{split}-{self._num_shards[split]:06d}.tar"
            self._num_shards[split] += 1
            shard = self._open[split] = TarShard(self._staged(name), name)
        return shard

    def _finish(self, split: str) -> None:
        shard = self._open.pop(split)
        info = ShardInfo(shard.name, split, shard.num_samples, shard.finish())
        self._finished.append(info)
        if info.num_bytes > self._max_bytes:
            event(logger, "large_sample", shard=info.name, bytes=info.num_bytes)

    def _put_in_place(self, name: str) -> None:
        staged, final = self._staged(name), self._folder / name
        if final.is_file() and filecmp.cmp(staged, final, shallow=False):
            staged.unlink()  # its modification time tells later jobs that nothing changed
            return
        _index_of(final).unlink(missing_ok=True)
        os.replace(staged, final)

    def _remove_superseded(self, current: set[str]) -> None:
        for path in set_shards(self._folder, self._name):
            if path.name not in current:
                _index_of(path).unlink(missing_ok=True)
                path.unlink()
                event(logger, "shard_superseded", shard=path.name)

    def _staged(self, name: str) -> Path:
        return self._folder / f".{name}{_STAGED}"

    def _remove_staged(self) -> None:
        ours = re.compile(
            rf"\.{re.escape(self._name)}-[A-Za-z0-9_]+-[0-9]{{6,}}\.tar{re.escape(_STAGED)}"
        )
        for path in self._folder.iterdir():
            if ours.fullmatch(path.name):
                path.unlink(missing_ok=True)


def set_shards(folder: Path, name: str) -> list[Path]:
    """The shards of a set that lie in a local folder, sorted; none where there is no such folder."""
    shard = re.compile(rf"{re.escape(name)}-[A-Za-z0-9_]+-[0-9]{{6,}}\.tar")
    try:
        return sorted(path for path in folder.iterdir() if shard.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _check_settings(output: str, name: str, max_bytes: int, max_samples: int) -> None:
    if "://" in output:
        raise ConfigError(
            "shards are packed into a local folder",
            where=f"pack.output={output}",
            fix="pack into a local folder, then copy the tars",
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name shards", where="pack.name", fix="use letters, digits, _ - and ."
        )
    if max_bytes < 1 or max_samples < 1:
        raise ConfigError(
            "a shard must be allowed at least one byte and one sample",
            where="pack.max_shard_bytes, pack.max_shard_samples",
            fix="give positive numbers",
        )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _index_of(shard: Path) -> Path:
    """The index beside a shard, which is wrong as soon as the shard is another."""
    return shard.with_suffix(".idx")


def _cannot_write(folder: Path, error: OSError) -> SinkError:
    return SinkError(
        f"the shards cannot be written: {error.strerror or error}",
        where=str(folder),
        fix="check the disk's space and permissions, or choose another pack.output",
    )
