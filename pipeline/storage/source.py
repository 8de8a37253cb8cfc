"""Random access to the bytes of one file: mapped where it is local, in windows where it is remote."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from pipeline.errors import InputError
from pipeline.storage.location import without_query
from pipeline.storage.retry import retried
from pipeline.storage.stores import RangeFile

WINDOW_BYTES = 8 << 20  # asked for at a time in a walk
SMALL_BYTES = 64 << 10  # asked for after a jump
JUMP_BYTES = 1 << 20  # rather than so much that nobody reads, another request


class ByteSource(Protocol):
    """Random access to the bytes of one file."""

    @property
    def size(self) -> int:
        """Bytes of the file; for one that is unpacked on the way, of what has been unpacked so far."""

    def read(self, offset: int, length: int) -> memoryview:
        """The bytes from ``offset`` on, fewer than ``length`` only at the end of the file."""

    def holds(self, end: int) -> bool:
        """Whether the file has at least ``end`` bytes."""

    def close(self) -> None:
        """Gives the file back."""


class LocalSource:
    """A file of this machine, mapped into memory.

    Args:
        path: Where it lies.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            # An empty file cannot be mapped.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        self._view = memoryview(self._map) if self._map is not None else memoryview(b"")

    def read(self, offset: int, length: int) -> memoryview:
        return self._view[offset : offset + length]

    def holds(self, end: int) -> bool:
        return end <= self.size

    def close(self) -> None:
        self._view.release()
        if self._map is not None:
            # Slices that are still in use keep the mapping alive; it goes with the last of them.
            with contextlib.suppress(BufferError):
                self._map.close()


class RemoteSource:
    """A remote file, read in windows.

    A walk fetches large windows, the next one while this one is used; a jump over something large fetches a small one.
    A read that fails or comes short is done again, whole, on a file opened anew: no byte is lost or comes twice.

    Args:
        open_file: Opens the file.
        where: Its location.
        start: Where reading will begin.
        end: Where it will end; windows stop there.
        read_ahead: Whether everything between is going to be read.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be opened.
    """

    def __init__(
        self,
        open_file: Callable[[], RangeFile],
        where: str,
        start: int = 0,
        end: int | None = None,
        *,
        read_ahead: bool = False,
    ) -> None:
        self._open_file, self._where = open_file, where
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._file: RangeFile | None = retried(open_file, what="cannot be opened", where=where)
        self.size = self._file.size
        self._end = self.size if end is None else min(end, self.size)
        self._read_ahead = read_ahead
        self._window_bytes = WINDOW_BYTES if read_ahead else SMALL_BYTES
        self._start, self._window = start, memoryview(b"")
        self._ahead: tuple[int, int, Future[memoryview]] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def read(self, offset: int, length: int) -> memoryview:
        stop = min(offset + length, self.size)
        pieces: list[memoryview] = []
        while offset < stop:
            begin = offset - self._start
            if not 0 <= begin < len(self._window):
                self._move(offset, stop - offset)
                begin = offset - self._start
            pieces.append(self._window[begin : stop - self._start])
            offset += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def holds(self, end: int) -> bool:
        return end <= self.size

    def close(self) -> None:
        self._closing.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._drop()

    def _move(self, offset: int, needed: int) -> None:
        """Moves the window to ``offset``."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] <= offset < ahead[1]:
            self._window, self._start = ahead[2].result(), ahead[0]
        else:
            if ahead is not None:
                ahead[2].cancel()
            length = min(self._next_bytes(offset), self._end - offset)
            if length <= 0:  # beyond the part: what is asked for and no more
                length = min(needed, WINDOW_BYTES)
            self._window, self._start = self._fetch(offset, length), offset
        begin = self._start + len(self._window)
        if self._window_bytes == WINDOW_BYTES and begin < self._end:  # a walk
            end = min(begin + WINDOW_BYTES, self._end)
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
            self._ahead = begin, end, self._pool.submit(self._fetch, begin, end - begin)

    def _next_bytes(self, offset: int) -> int:
        """Size of the next window: doubled from one to the next in a walk, small again after a jump."""
        if not self._read_ahead:
            near = 0 <= offset - (self._start + len(self._window)) < JUMP_BYTES
            self._window_bytes = min(2 * self._window_bytes, WINDOW_BYTES) if near else SMALL_BYTES
        return self._window_bytes

    def _fetch(self, start: int, length: int) -> memoryview:
        with self._lock:
            return retried(
                lambda: self._attempt(start, length),
                what=f"bytes {start} to {start + length} cannot be read",
                where=self._where,
                pause=self._closing.wait,
            )

    def _attempt(self, start: int, length: int) -> memoryview:
        if self._closing.is_set():
            raise InputError("closed while it was read ahead", where=without_query(self._where))
        try:
            if self._file is None:
                self._file = self._open_file()
            if self._file.size != self.size:
                raise InputError(
                    f"changed while it was read, from {self.size} to {self._file.size} bytes",
                    where=without_query(self._where),
                    fix="run the job again when nobody writes to it",
                )
            data = memoryview(self._file.read_range(start, length)).cast("B")
        except FileNotFoundError as error:
            raise InputError(
                "removed while it was read",
                where=without_query(self._where),
                fix="put it back, or run the job again over what is there",
            ) from error
        except OSError:
            self._drop()
            raise
        if len(data) != length:
            self._drop()
            raise OSError(f"{len(data)} of {length} bytes came")
        return data

    def _drop(self) -> None:
        """Gives up the file, in whatever state it is; the next attempt opens it anew."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
