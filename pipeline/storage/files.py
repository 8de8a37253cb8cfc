"""What the rest of the house reads and lists, local or remote; :mod:`pipeline.storage.writing` writes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline import pulse
from pipeline.errors import InputError
from pipeline.storage.base import RangeFile
from pipeline.storage.location import (
    FileInfo,
    is_local,
    local_path,
    without_query,
)
from pipeline.storage.retry import retried
from pipeline.storage.source import ByteSource, LocalSource, RemoteSource
from pipeline.storage.stores import store_of
from pipeline.storage.tree import DEEPEST, is_hidden, walk_files

_ASKERS = 16  # requests for the sizes of remote files under way at once


def exists(url: str) -> bool:
    """Whether there is a file or folder at ``url``."""
    if is_local(url):
        return local_path(url).exists()
    return retried(lambda: store_of(url).exists(url), what="cannot be looked for", where=url)


def list_files(
    folder: str, *, recursive: bool = False, depth: int = DEEPEST, hidden: bool = True
) -> list[FileInfo]:
    """The files of a folder, sorted by location; none where there is no such folder.

    Their locations begin with ``folder`` as it is written here. Links are followed (:mod:`pipeline.storage.tree`).

    Args:
        folder: Where they lie.
        recursive: Whether those of its folders are listed too.
        depth: How many folders below it, where it is local; a store lists all at once.
        hidden: Whether files and folders whose names begin with a dot are.

    Raises:
        InputError: The folder cannot be listed.
        ConfigError: Folders of its kind never can.
    """
    if is_local(folder):
        infos = list(_local_files(folder, depth if recursive else 0, hidden))
    else:
        infos = retried(
            lambda: list(store_of(folder).files(folder, recursive=recursive)),
            what="cannot be listed",
            where=folder,
        )
        start = len(folder.rstrip("/")) + 1
        infos = [info for info in infos if hidden or not is_hidden(info.url[start:])]
    infos.sort(key=lambda info: info.url)
    pulse.beat()
    return infos


def file_info(url: str) -> FileInfo | None:
    """Size and version of one file, None where there is none."""
    if is_local(url):
        try:
            status = os.stat(url.removeprefix("file://"))
        except OSError:
            return None
        return _info(url, status) if stat.S_ISREG(status.st_mode) else None
    info = retried(lambda: store_of(url).info(url), what="cannot be looked for", where=url)
    pulse.beat()
    return info


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
        return read_local(url)
    data = retried(lambda: store_of(url).read(url), what="cannot be read", where=url)
    pulse.beat()
    return data


def read_local(url: str) -> bytes:
    """The whole content of a small local file; see :func:`read_bytes`."""
    try:
        data = local_path(url).read_bytes()
        pulse.beat()
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
    return data


def _local_files(folder: str, depth: int, hidden: bool) -> Iterator[FileInfo]:
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    root = prefix.removeprefix("file://")
    try:
        for name, entry in walk_files(root, depth=depth, hidden=hidden):
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                yield _info(prefix + name, entry.stat())
    except OSError as error:
        raise InputError(
            f"the folder cannot be listed: {error.strerror or error}",
            where=str(error.filename or folder),
            fix="check that you may read it",
        ) from error


def _info(url: str, status: os.stat_result) -> FileInfo:
    return FileInfo(url, status.st_size, f"{status.st_mtime_ns}")
