"""Decoded parts on a local disk: what one epoch has decoded, the later ones map into memory.

RUN/cache/DIGEST/PART.arrow is an Arrow IPC file without compression, followed by a trailer with its checksum. DIGEST
stands for everything decoded values depend on; a training with other settings removes what it cannot use.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
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

logger = logging.getLogger(__name__)


def prepare_cache(run: str, identity: Mapping[str, object], parts: Iterable[Part]) -> str:
    """Makes the folder of a run's cache ready, and removes from it what other settings or shards have left.

    Args:
        run: The run folder.
        identity: What decoded values depend on, ready for JSON.
        parts: All parts that will be read.

    Returns:
        The folder to hand to :func:`cached`.

    Raises:
        ConfigError: The run folder is not on a local disk.
    """
    require_local(run)
    root = storage.local_path(run).absolute() / CACHE
    folder = root / runs.fingerprint(
        {"version": __version__, "columns": str(BASE_SCHEMA), **identity}
    )
    for older in root.glob("*"):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    names = {part.id + SUFFIX for part in parts}
    for file in folder.iterdir():
        if file.name not in names:  # of a shard that has changed, or not finished
            file.unlink(missing_ok=True)
    return str(folder)


def require_local(run: str) -> None:
    """Checks that a run folder can hold a cache.

    Raises:
        ConfigError: It is not on a local disk.
    """
    if not storage.is_local(run):
        raise ConfigError(
            "train.cache=disk needs a run folder on a local disk",
            where=run,
            fix="set train.cache=memory, or train.cache=none to decode in every epoch",
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

    cache: str = ""

    @classmethod
    def of(cls, decoder: Decoder, cache: str) -> CachedDecoder:
        """The same decoder, with a cache."""
        settings = {setting.name: getattr(decoder, setting.name) for setting in fields(decoder)}
        return cls(**{**settings, "cache": cache})


def cached(folder: str, part: Part, decode: Callable[[], pa.Table]) -> pa.Table:
    """A part's table from the cache, memory-mapped; decoded and kept where it is not there or damaged.

    A disk that is full makes the epochs slower and ends nothing.

    Args:
        folder: What :func:`prepare_cache` returned.
        part: Which.
        decode: Decodes it.
    """
    path = Path(folder) / f"{part.id}{SUFFIX}"
    table = _read(path)
    if table is None:
        table = decode()
        try:
            _write(path, table)
        except OSError as error:
            event(logger, "cache_not_written", path=str(path), reason=error.strerror or str(error))
    return table


def is_cached(folder: str, part: Part) -> bool:
    """Whether a cache has a part's table, damaged or not.

    Args:
        folder: What :func:`prepare_cache` returned.
        part: Which.
    """
    return (Path(folder) / f"{part.id}{SUFFIX}").exists()


def _read(path: Path) -> pa.Table | None:
    """The table in a file; None where there is none or its checksum does not hold."""
    try:
        with pa.memory_map(str(path)) as file:
            data = file.read_buffer()
        size = data.size - TRAILER_BYTES
        if size < 0 or data.slice(size).to_pybytes() != _trailer(data.slice(0, size)):
            return None
        return pa.ipc.open_file(data.slice(0, size)).read_all()
    except (OSError, pa.ArrowInvalid):  # no file, or an empty one, which cannot be mapped
        return None


def _write(path: Path, table: pa.Table) -> None:
    """Writes a file that is there whole or not at all; unflushed, since its checksum tells what a crash left of it."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    data = buffer.getvalue()
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.write(_trailer(data))
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _trailer(data: pa.Buffer) -> bytes:
    return MAGIC + zlib.crc32(data).to_bytes(4, "little")
