"""What the rest of the house does with files, local or remote."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from pipeline.errors import InputError, SinkError
from pipeline.storage.location import (
    FileInfo,
    check_writable,
    is_local,
    local_path,
    without_query,
)
from pipeline.storage.retry import retried
from pipeline.storage.source import ByteSource, LocalSource, RemoteSource
from pipeline.storage.stores import RangeFile, store_of

STAGING = "_staging"
STAGING_TRIES = 100  # to put a file into it while others remove it
_ASKERS = 16  # requests for the sizes of remote files under way at once
_SPOOLED_BYTES = (
    64 << 20
)  # of a remote file being written, kept in memory before it goes to the disk


def exists(url: str) -> bool:
    """Whether there is a file or folder at ``url``."""
    if is_local(url):
        return local_path(url).exists()
    return retried(lambda: store_of(url).exists(url), what="cannot be looked for", where=url)


def list_files(folder: str, *, recursive: bool = False) -> list[FileInfo]:
    """The files of a folder, sorted by location; none where there is no such folder.

    Their locations begin with ``folder`` as it is written here.

    Raises:
        InputError: The folder cannot be listed.
        ConfigError: Folders of its kind never can.
    """
    if is_local(folder):
        found = list(_local_files(folder, recursive=recursive))
    else:
        found = retried(
            lambda: list(store_of(folder).files(folder, recursive=recursive)),
            what="cannot be listed",
            where=folder,
        )
    found.sort(key=lambda info: info.url)
    return found


def file_info(url: str) -> FileInfo | None:
    """Size and version of one file, None where there is none."""
    if is_local(url):
        try:
            status = os.stat(url.removeprefix("file://"))
        except OSError:
            return None
        return _info(url, status) if stat.S_ISREG(status.st_mode) else None
    return retried(lambda: store_of(url).info(url), what="cannot be looked for", where=url)


def file_infos(urls: Sequence[str]) -> list[FileInfo | None]:
    """As :func:`file_info`, for many; remote stores are asked for several at a time."""
    if not urls or is_local(urls[0]):
        return [file_info(url) for url in urls]
    with ThreadPoolExecutor(min(_ASKERS, len(urls))) as pool:
        return list(pool.map(file_info, urls))


def open_source(
    url: str, start: int = 0, end: int | None = None, *, read_ahead: bool = False
) -> ByteSource:
    """Opens a file for range reads: mapped into memory where local.

    Args:
        url: Where it lies.
        start: Where reading will begin.
        end: Where it will end, so that nothing behind is fetched; None is the end of the file.
        read_ahead: Whether all of the range is going to be read, rather than headers here and there.

    Raises:
        InputError: The file is not there, or cannot be opened.
    """
    try:
        if is_local(url):
            return LocalSource(local_path(url))
        store = store_of(url)

        def open_file() -> RangeFile:
            return store.open(url)

        return RemoteSource(open_file, url, start, end, read_ahead=read_ahead)
    except FileNotFoundError as error:
        raise InputError(
            "the file is not there",
            where=without_query(url),
            fix="check whether it was moved or removed, and run the job again",
        ) from error
    except OSError as error:
        raise InputError(
            f"the file cannot be opened: {error.strerror or error}",
            where=url,
            fix="check that you may read it, and run the job again",
        ) from error


def read_bytes(url: str) -> bytes:
    """The whole content of a small file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read.
    """
    if is_local(url):
        return _read_local(url)
    return retried(lambda: store_of(url).read(url), what="cannot be read", where=url)


def remove(url: str) -> None:
    """Removes a file; fine where it is gone already.

    Raises:
        SinkError: It cannot be removed.
    """
    check_writable(url)
    with contextlib.suppress(FileNotFoundError):
        if is_local(url):
            with _writing(url, "cannot be removed"):
                local_path(url).unlink(missing_ok=True)
        else:
            retried(
                lambda: store_of(url).remove(url),
                what="cannot be removed",
                where=url,
                kind=SinkError,
            )


def write_bytes(url: str, data: bytes) -> None:
    """Writes a file whole, replacing one that is there; see :func:`create`."""
    with create(url) as file:
        file.write(data)


@contextlib.contextmanager
def create(url: str, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """Opens a file for writing that becomes visible under its name only when it is whole.

    On local disks it is written in ``_staging/`` beside its name, flushed to the disk, and renamed or, with
    ``replace=False``, linked: where a file of that name exists already, that one stays. For an object store it is kept
    here until it is whole, and then uploaded; the store shows an object only when its upload is complete.

    Raises:
        SinkError: The file cannot be written.
        ConfigError: Nothing can be written to such a location.
    """
    if not is_local(url):
        yield from _upload(url, replace=replace)
        return
    final = local_path(url)
    staged = final.parent / STAGING / f"{final.name}.{uuid.uuid4().hex[:12]}"
    with _writing(url):
        try:
            with _open_staged(staged) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _publish(staged, final, replace=replace)
        finally:
            staged.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                staged.parent.rmdir()  # only when nothing else is being written


def _open_staged(staged: Path) -> IO[bytes]:
    """Opens a new file; its folder may be removed by another writer, who found it empty, before the file is in it."""
    for _ in range(STAGING_TRIES):
        # mkdir says that the folder exists where it did, and was removed before mkdir looked what it is.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            staged.parent.mkdir(parents=True, exist_ok=True)
            return staged.open("xb")
    staged.parent.mkdir(parents=True, exist_ok=True)
    return staged.open("xb")


def _upload(url: str, *, replace: bool) -> Iterator[IO[bytes]]:
    check_writable(url)
    # A stream to the store would publish what it has when the writer fails: closing it completes the upload.
    with _writing(url), tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as file:
        yield file

        def upload() -> None:
            file.seek(0)
            store_of(url).write(url, file)

        if replace or not exists(url):
            retried(upload, what="cannot be written", where=url, kind=SinkError)


def link(url: str, name: str) -> None:
    """Gives a whole file a second name; on local disks no byte of it is copied.

    Raises:
        SinkError: The name cannot be made.
    """
    if not is_local(url):
        write_bytes(name, read_bytes(url))
        return
    with _writing(name):
        _publish(local_path(url), local_path(name), replace=False)


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


def _read_local(url: str) -> bytes:
    try:
        return local_path(url).read_bytes()
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:  # nothing lies below a file
        raise FileNotFoundError(error.errno, error.strerror, error.filename) from error
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}",
            where=url,
            fix="check the disk and that you may read it, and run the job again",
        ) from error


@contextlib.contextmanager
def _writing(url: str, what: str = "cannot be written") -> Iterator[None]:
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
        raise SinkError(f"{what}: {error.strerror or error}", where=url, fix=fix) from error


def _local_files(folder: str, *, recursive: bool) -> Iterator[FileInfo]:
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    try:
        with os.scandir(prefix.removeprefix("file://") or ".") as entries:
            for entry in entries:
                url = prefix + entry.name
                if entry.is_file():
                    with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                        yield _info(url, entry.stat())
                elif recursive and entry.is_dir(follow_symlinks=False):
                    yield from _local_files(url, recursive=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(
            f"the folder cannot be listed: {error.strerror or error}",
            where=folder,
            fix="check that you may read it",
        ) from error


def _info(url: str, status: os.stat_result) -> FileInfo:
    return FileInfo(url, status.st_size, f"{status.st_mtime_ns}")
