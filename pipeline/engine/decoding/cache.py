"""Decoded parts on a local disk: what one epoch has decoded, the later ones map into memory.

RUN/cache/DIGEST/PART.arrow is an Arrow IPC file without compression, followed by a trailer with its checksum. DIGEST
stands for everything decoded values depend on; a training with other settings removes what it cannot use. In a folder
that several runs share nothing is removed for that, but where there is no room: first what was not used since the
training began, the oldest first, and never what it has itself put there, since what goes round and round would be gone
each time that it is wanted; what has no room then is decoded in every epoch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa

from pipeline import __version__, runs, storage
from pipeline.errors import ConfigError
from pipeline.logs import event
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import BASE_SCHEMA
from pipeline.shards.planning.plan import Part

CACHE = "cache"
SUFFIX = ".arrow"
MAGIC = b"decoded1"  # of the trailer, before the checksum
TRAILER_BYTES = len(MAGIC) + 4
CLOCK_SECONDS = 1.0  # by which times of files may lie behind this process's clock

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cache:
    """Where a training finds and keeps decoded parts; travels to its workers.

    Attributes:
        folder: Of its parts.
        max_bytes: Of all files in the folder above it; None sets no limit. Workers that write at the same time may
            exceed it by a part each.
        since: When the training began, seconds since 1970: what was not used since may go.
    """

    folder: str
    max_bytes: int | None = None
    since: float = 0.0

    def path(self, part: Part) -> Path:
        """The file of a part, which need not be there."""
        return Path(self.folder) / f"{part.id}{SUFFIX}"


def prepare_cache(
    run: str,
    identity: Mapping[str, object],
    parts: Iterable[Part],
    *,
    shared: str | None = None,
    max_bytes: int | None = None,
) -> Cache:
    """Makes the folder of a cache ready; removes what other settings or shards have left, where it is the run's own.

    Args:
        run: The run folder.
        identity: What decoded values depend on, ready for JSON.
        parts: All parts that will be read.
        shared: The folder that several runs share; the run's own where None.
        max_bytes: See :class:`Cache`.

    Raises:
        ConfigError: The folder is not on a local disk.
    """
    require_local(run, shared)
    root = storage.local_path(shared or storage.join(run, CACHE)).absolute()
    folder = root / runs.fingerprint(
        {"version": __version__, "columns": str(BASE_SCHEMA), **identity}
    )
    cache = Cache(str(folder), max_bytes, time.time() - CLOCK_SECONDS)
    if shared is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return cache
    for older in root.glob("*"):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    names = {part.id + SUFFIX for part in parts}
    for file in folder.iterdir():
        if file.name not in names:  # of a shard that has changed, or not finished
            file.unlink(missing_ok=True)
    return cache


def require_local(run: str, shared: str | None = None) -> None:
    """Checks that a run folder, or the folder that several share, can hold a cache.

    Raises:
        ConfigError: It is not on a local disk.
    """
    if not storage.is_local(shared or run):
        raise ConfigError(
            "train.cache=disk needs a folder on a local disk",
            where=shared or run,
            fix="set train.cache_folder to one, or train.cache to memory, or to none to decode in every epoch",
        )


def clear_cache(run: str) -> None:
    """Removes a run's cache, which a training that does not use it has made stale."""
    if storage.is_local(run):
        shutil.rmtree(storage.local_path(run) / CACHE, ignore_errors=True)


@dataclass(frozen=True)
class CachedDecoder(Decoder):
    """A decoder whose tables are looked up in a cache first.

    Attributes:
        cache: What :func:`prepare_cache` returned.
    """

    cache: Cache = Cache("")

    @classmethod
    def of(cls, decoder: Decoder, cache: Cache) -> CachedDecoder:
        """The same decoder, with a cache."""
        settings = {setting.name: getattr(decoder, setting.name) for setting in fields(decoder)}
        return cls(**{**settings, "cache": cache})


def cached(cache: Cache, part: Part, decode: Callable[[], pa.Table]) -> pa.Table:
    """A part's table from the cache, memory-mapped; decoded and kept where it is not there or damaged.

    A disk or a cache that is full makes the epochs slower and ends nothing.

    Args:
        cache: What :func:`prepare_cache` returned.
        part: Which.
        decode: Decodes it.
    """
    path = cache.path(part)
    table = _read(path)
    if table is None:
        table = decode()
        try:
            _write(path, table, cache)
        except OSError as error:
            event(logger, "cache_not_written", path=str(path), reason=error.strerror or str(error))
    return table


def is_cached(cache: Cache, part: Part) -> bool:
    """Whether a cache has a part's table, damaged or not.

    Args:
        cache: What :func:`prepare_cache` returned.
        part: Which.
    """
    return cache.path(part).exists()


def _read(path: Path) -> pa.Table | None:
    """The table in a file; None where there is none or its checksum does not hold."""
    try:
        with pa.memory_map(str(path)) as file:
            data = file.read_buffer()
        size = data.size - TRAILER_BYTES
        if size < 0 or data.slice(size).to_pybytes() != _trailer(data.slice(0, size)):
            return None
        with contextlib.suppress(OSError):  # another user's, or gone by now
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        return pa.ipc.open_file(data.slice(0, size)).read_all()
    except (OSError, pa.ArrowInvalid):  # no file, or an empty one, which cannot be mapped
        return None


def _write(path: Path, table: pa.Table, cache: Cache) -> None:
    """Writes a file that is there whole or not at all; unflushed, since its checksum tells what a crash left of it."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    data = buffer.getvalue()
    if not _make_room(cache, data.size + TRAILER_BYTES, path):
        return
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.write(_trailer(data))
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _make_room(cache: Cache, size: int, path: Path) -> bool:
    """Removes what was not used since the training began, the oldest first, until a file has room; whether it has.

    A file that another process has mapped stays readable to it.
    """
    if cache.max_bytes is None:
        return True
    files = []
    for file in Path(cache.folder).parent.glob(f"*/*{SUFFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            last_use = max(status.st_atime, status.st_mtime)
            files.append((last_use, status.st_size, file))
    used = sum(taken for _, taken, file in files if file != path)
    for last_use, taken, file in sorted(files):
        if used + size <= cache.max_bytes or last_use >= cache.since:
            break
        if file != path:
            file.unlink(missing_ok=True)
            used -= taken
    return used + size <= cache.max_bytes


def _trailer(data: pa.Buffer) -> bytes:
    return MAGIC + zlib.crc32(data).to_bytes(4, "little")
