"""Publication of whole files only: on local disks, and in object stores."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from pipeline import pulse
from pipeline.errors import SinkError, in_words
from pipeline.storage.conditional import create_once
from pipeline.storage.location import check_writable, is_local, local_path
from pipeline.storage.retry import of_a_library, retried
from pipeline.storage.stores import store_of

STAGING = "_staging"
STAGING_TRIES = 100  # to put a file into it while others remove it
_SPOOLED_BYTES = 64 << 20  # of a remote file under way that are held in memory, not on the disk
_REMOVERS = 16  # files removed at a time
_FIX = "check the location and run it again"
_WHOLE_BYTES = 1 << 30  # objects up to this size are put in one conditional request

Check = Callable[[IO[bytes]], None]


class NewFile:
    """A file under way.

    Attributes:
        url: Where it will be; may be set until it is whole, so that a name can tell of the content.
        num_bytes: Written so far.
        crc32: Of what is written so far.
        created: Once it is whole: whether this is the file that has the name now, and not one that was there before.
    """

    closed = False  # what pyarrow asks of a file

    def __init__(self, url: str, file: IO[bytes]) -> None:
        self.url = url
        self.num_bytes = 0
        self.crc32 = 0
        self.created = False
        self._file = file

    def write(self, data: Any) -> int:
        """Appends bytes."""
        view = memoryview(data).cast("B")
        self.crc32 = zlib.crc32(view, self.crc32)
        self.num_bytes += len(view)
        self._file.write(view)
        pulse.beat()
        return len(view)

    def flush(self) -> None:
        """Passes on what is buffered."""
        self._file.flush()

    def tell(self) -> int:
        """The position, which is the end."""
        return self.num_bytes

    def writable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is not."""
        return False

    def seekable(self) -> bool:
        """It is not."""
        return False


def write_bytes(url: str, data: bytes) -> None:
    """Writes a file whole, replacing one that is there; see :func:`create`."""
    with create(url) as file:
        file.write(data)


@contextlib.contextmanager
def create(url: str, *, replace: bool = True, check: Check | None = None) -> Iterator[NewFile]:
    """Opens a file for writing that becomes visible under its name only when it is whole.

    On local disks it is written in ``_staging/`` beside its name, flushed to the disk, and renamed or, with
    ``replace=False``, linked: where a file of that name exists already, that one stays. For an object store it is kept
    here until it is whole, and then put there in one request, with ``replace=False`` under the condition that there is
    none of that name.

    Args:
        url: Where.
        replace: Whether a file of that name is replaced.
        check: Looks at the whole file before it is published; what it raises keeps it from that.

    Raises:
        SinkError: The file cannot be written.
        ConfigError: Nothing can be written to such a location.
    """
    check_writable(url)
    with as_sink_errors(url):
        if is_local(url):
            yield from _to_disk(url, replace, check)
        else:
            yield from _to_store(url, replace, check)


def _to_disk(url: str, replace: bool, check: Check | None) -> Iterator[NewFile]:
    final = local_path(url)
    staged = final.parent / STAGING / f"{final.name}.{uuid.uuid4().hex[:12]}"
    try:
        with _open_staged(staged) as file:
            new = NewFile(url, file)
            yield new
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            with staged.open("rb") as whole:
                check(whole)
        new.created = _publish(staged, local_path(new.url), replace=replace)
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


def _to_store(url: str, replace: bool, check: Check | None) -> Iterator[NewFile]:
    # A stream to the store would publish what it has when the writer fails: closing it completes the upload.
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as file:
        new = NewFile(url, file)
        yield new
        if check is not None:
            file.seek(0)
            check(file)
        new.created = _upload(new, file, replace=replace)
        pulse.beat()


def _upload(new: NewFile, file: Any, *, replace: bool) -> bool:
    def upload() -> None:
        file.seek(0)
        store_of(new.url).write(new.url, file)

    if replace or new.num_bytes > _WHOLE_BYTES:
        if not replace and store_of(new.url).exists(new.url):
            return False
        retried(upload, what="cannot be written", where=new.url, kind=SinkError)
        return True
    if new.num_bytes > _SPOOLED_BYTES:  # it is on the disk by now, and need not be in memory
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return create_once(new.url, content)
    file.seek(0)
    return create_once(new.url, file.read())


def remove(url: str) -> None:
    """Removes a file; fine where it is gone already.

    Raises:
        SinkError: It cannot be removed.
    """
    check_writable(url)
    what = "cannot be removed"
    with contextlib.suppress(FileNotFoundError):
        if is_local(url):
            with as_sink_errors(url, what):
                local_path(url).unlink(missing_ok=True)
        else:
            retried(lambda: store_of(url).remove(url), what=what, where=url, kind=SinkError)


def remove_all(urls: Iterable[str]) -> None:
    """Removes files, several at a time; see :func:`remove`."""
    with ThreadPoolExecutor(_REMOVERS) as pool:
        for _ in pool.map(remove, urls):
            pulse.beat()


def remove_folder(url: str) -> None:
    """Removes a local folder with all that is in it.

    Raises:
        SinkError: Something of it cannot be removed.
    """
    with as_sink_errors(url):
        shutil.rmtree(local_path(url))
    pulse.beat()


def copy(url: str, name: str) -> None:
    """Gives a whole file a second name; no byte passes through here, and on local disks none is copied.

    Raises:
        SinkError: The name cannot be made.
    """
    with as_sink_errors(name):
        if is_local(url):
            local_path(name).parent.mkdir(parents=True, exist_ok=True)
            _publish(local_path(url), local_path(name), replace=False)
        else:
            retried(
                lambda: store_of(url).copy(url, name),
                what="cannot be copied",
                where=name,
                kind=SinkError,
            )
    pulse.beat()


def _publish(staged: Path, final: Path, *, replace: bool) -> bool:
    """Gives a staged file its name; whether it has it now."""
    created = True
    if replace:
        staged.replace(final)
    else:
        try:
            os.link(staged, final)
        except FileExistsError:
            created = False
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return created


@contextlib.contextmanager
def as_sink_errors(url: str, what: str = "cannot be written") -> Iterator[None]:
    """Turns what a disk says into an error that names the location and what helps."""
    try:
        yield
    except OSError as error:
        fixes = {
            errno.ENOSPC: "free some space and run it again",
            errno.EACCES: "choose a folder that you may write to",
            errno.EROFS: "choose a folder that is not read-only",
            errno.ENOTDIR: "a part of the path is a file",
        }
        fix = fixes.get(error.errno or 0, _FIX)
        raise SinkError(f"{what}: {error.strerror or error}", where=url, fix=fix) from error
    except Exception as error:
        if not of_a_library(error):  # ours, or a bug
            raise
        raise SinkError(f"{what}: {in_words(error)}", where=url, fix=_FIX) from error
