"""Files wherever they lie: listing, range reads, and publication of whole files only.

A location is a local path, a ``file://`` URL, or an ``s3://``, ``gs://`` or ``abfs://`` URL (through pyarrow).
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from pipeline.errors import ConfigError, SinkError

STAGING = "_staging"
REMOTE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as a listing shows it: location, size in bytes, and a version that changes with its content."""

    url: str
    size: int
    version: str


class ByteSource(Protocol):
    """Random access to the bytes of one file."""

    size: int

    def read(self, offset: int, length: int) -> memoryview:
        """The bytes from ``offset`` on, fewer than ``length`` only at the end of the file."""

    def close(self) -> None:
        """Gives the file back."""


def is_local(url: str) -> bool:
    """Whether ``url`` is a path of this machine.

    Raises:
        ConfigError: A scheme that is not supported.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme == "file":
        return True
    if scheme in REMOTE_SCHEMES:
        return False
    raise ConfigError(
        f"locations of the kind {scheme}:// are not supported",
        where=url,
        fix=f"use a path, file://, {', '.join(name + '://' for name in REMOTE_SCHEMES)}",
    )


def local_path(url: str) -> Path:
    """The path of a local location."""
    return Path(url.removeprefix("file://"))


def join(url: str, *names: str) -> str:
    """Appends path components to a location."""
    return "/".join([url.rstrip("/") if url != "/" else "", *names])


def exists(url: str) -> bool:
    """Whether there is a file or folder at ``url``."""
    if is_local(url):
        return local_path(url).exists()
    filesystem, path = _remote(url)
    return bool(filesystem.get_file_info(path).type.value)


def list_files(folder: str, *, recursive: bool = False) -> list[FileInfo]:
    """The files of a folder, sorted by location; none where there is no such folder."""
    if is_local(folder):
        root = local_path(folder)
        paths = root.rglob("*") if recursive else root.glob("*")
        infos = [file_info(_like(folder, path)) for path in paths if path.is_file()]
        return sorted((info for info in infos if info is not None), key=lambda info: info.url)
    from pyarrow import fs

    filesystem, path = _remote(folder)
    selector = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
    scheme = folder.partition("://")[0]
    found = [info for info in filesystem.get_file_info(selector) if info.is_file]
    listed = [FileInfo(f"{scheme}://{info.path}", info.size, f"{info.mtime_ns}") for info in found]
    return sorted(listed, key=lambda info: info.url)


def file_info(url: str) -> FileInfo | None:
    """Size and version of one file, None where there is none."""
    if is_local(url):
        try:
            status = local_path(url).stat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return FileInfo(url, status.st_size, f"{status.st_mtime_ns}")
    filesystem, path = _remote(url)
    info = filesystem.get_file_info(path)
    return FileInfo(url, info.size, f"{info.mtime_ns}") if info.is_file else None


def open_source(url: str) -> ByteSource:
    """Opens a file for range reads: mapped into memory where local.

    Raises:
        OSError: The file cannot be opened.
    """
    return _LocalSource(local_path(url)) if is_local(url) else _RemoteSource(url)


def read_bytes(url: str) -> bytes:
    """The whole content of a small file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if is_local(url):
        return local_path(url).read_bytes()
    filesystem, path = _remote(url)
    with filesystem.open_input_stream(path) as stream:
        return bytes(stream.read())


def remove(url: str) -> None:
    """Removes a file; fine where it is gone already."""
    if is_local(url):
        local_path(url).unlink(missing_ok=True)
        return
    filesystem, path = _remote(url)
    with contextlib.suppress(FileNotFoundError):
        filesystem.delete_file(path)


def write_bytes(url: str, data: bytes) -> None:
    """Writes a file whole, replacing one that is there; see :func:`create`."""
    with create(url) as file:
        file.write(data)


@contextlib.contextmanager
def create(url: str, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """Opens a file for writing that becomes visible under its name only when it is whole.

    On local disks it is written in ``_staging/`` beside its name, flushed to the disk, and renamed or, with
    ``replace=False``, linked: where a file of that name exists already, that one stays. An object store shows an object
    only when its upload is complete.

    Raises:
        SinkError: The file cannot be written.
    """
    if not is_local(url):
        filesystem, path = _remote(url)
        with _writing(url), filesystem.open_output_stream(path) as stream:
            yield stream
        return
    final = local_path(url)
    staged = final.parent / STAGING / f"{final.name}.{uuid.uuid4().hex[:12]}"
    with _writing(url):
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staged.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _publish(staged, final, replace=replace)
        finally:
            staged.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                staged.parent.rmdir()  # only when nothing else is being written


def _publish(staged: Path, final: Path, *, replace: bool) -> None:
    if replace:
        staged.replace(final)
    else:
        with contextlib.suppress(FileExistsError):
            os.link(staged, final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _writing(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fixes = {
            errno.ENOSPC: "free some space and run it again",
            errno.EACCES: "choose a folder that you may write to",
            errno.EROFS: "choose a folder that is not read-only",
            errno.ENOTDIR: "a part of the path is a file",
        }
        fix = fixes.get(error.errno or 0, "check the location and run it again")
        raise SinkError(
            f"cannot be written: {error.strerror or error}", where=url, fix=fix
        ) from error


class _LocalSource:
    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            # An empty file cannot be mapped.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        self._view = memoryview(self._map) if self._map is not None else memoryview(b"")

    def read(self, offset: int, length: int) -> memoryview:
        return self._view[offset : offset + length]

    def close(self) -> None:
        self._view.release()
        if self._map is not None:
            # Slices that are still in use keep the mapping alive; it goes with the last of them.
            with contextlib.suppress(BufferError):
                self._map.close()


class _RemoteSource:
    """Range reads through a window, so that a walk over small headers does not cost a request each."""

    WINDOW = 1 << 20

    def __init__(self, url: str) -> None:
        filesystem, path = _remote(url)
        self._file = filesystem.open_input_file(path)
        self.size = int(self._file.size())
        self._start, self._window = 0, memoryview(b"")

    def read(self, offset: int, length: int) -> memoryview:
        start = offset - self._start
        if start < 0 or start + length > len(self._window):
            wanted = max(length, self.WINDOW)
            self._start, self._window = offset, memoryview(self._file.read_at(wanted, offset))
            start = 0
        return self._window[start : start + length]

    def close(self) -> None:
        self._file.close()


def _remote(url: str) -> tuple[Any, str]:
    from pyarrow import fs

    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except (ValueError, OSError) as error:
        raise ConfigError(f"the location cannot be used: {error}", where=url) from error
    return filesystem, path


def _like(folder: str, path: Path) -> str:
    return f"file://{path}" if folder.startswith("file://") else str(path)
