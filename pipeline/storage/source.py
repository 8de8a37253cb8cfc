"""Random access to the bytes of one file: mapped where it is local, in windows where it is remote."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from pipeline import pulse
from pipeline.errors import InputError
from pipeline.storage.base import RangeFile
from pipeline.storage.location import without_query
from pipeline.storage.retry import retried

WINDOW_BYTES = 8 << 20  # asked for at a time in a walk
SMALL_BYTES = 64 << 10  # asked for after a jump
JUMP_BYTES = 1 << 20  # rather than so much that nobody reads, another request
WINDOWS_AHEAD = 3  # asked for while one is used
REQUESTS = 2  # at a time, since a store answers late rather than slowly
WALKED_BYTES = (
    64 << 20
)  # of a mapped file, after which its pages are not counted as this process's any more


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
        self._walked_from = 0

    def read(self, offset: int, length: int) -> memoryview:
        if offset - self._walked_from > WALKED_BYTES:
            self._let_go(offset)
        return self._view[offset : offset + length]

    def _let_go(self, offset: int) -> None:
        """Unmaps the pages behind a walk, or a scan of a large file would seem to hold all of it.

        They stay in the system's cache, and a view of them finds them there again.
        """
        first = self._walked_from // mmap.PAGESIZE * mmap.PAGESIZE
        last = offset // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)
        self._walked_from = offset

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
        first = retried(open_file, what="cannot be opened", where=where)
        self._files = [first]  # that no request uses
        self.size = first.size
        self._end = self.size if end is None else min(end, self.size)
        self._read_ahead = read_ahead
        self._window_bytes = WINDOW_BYTES if read_ahead else SMALL_BYTES
        self._start, self._window = start, memoryview(b"")
        self._ahead: deque[tuple[int, int, Future[memoryview]]] = deque()
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
        for file in self._files:
            _close(file)

    def _move(self, offset: int, needed: int) -> None:
        """Moves the window to ``offset``."""
        while self._ahead and not self._ahead[0][0] <= offset < self._ahead[0][1]:
            self._ahead.popleft()[2].cancel()
        if self._ahead:
            self._start, _, fetched = self._ahead.popleft()
            self._window = fetched.result()
        else:
            length = min(self._next_bytes(offset), self._end - offset)
            if length <= 0:  # beyond the part: what is asked for and no more
                length = min(needed, WINDOW_BYTES)
            self._window, self._start = self._fetch(offset, length), offset
        if self._window_bytes == WINDOW_BYTES and all(file.ranged for file in self._files):
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Asks for the windows that follow."""
        begin = self._ahead[-1][1] if self._ahead else self._start + len(self._window)
        while begin < self._end and len(self._ahead) < WINDOWS_AHEAD:
            end = min(begin + WINDOW_BYTES, self._end)
            self._pool = self._pool or ThreadPoolExecutor(REQUESTS, thread_name_prefix="read-ahead")
            self._ahead.append((begin, end, self._pool.submit(self._fetch, begin, end - begin)))
            begin = end

    def _next_bytes(self, offset: int) -> int:
        """Size of the next window: doubled from one to the next in a walk, small again after a jump."""
        if not self._read_ahead:
            near = 0 <= offset - (self._start + len(self._window)) < JUMP_BYTES
            self._window_bytes = min(2 * self._window_bytes, WINDOW_BYTES) if near else SMALL_BYTES
        return self._window_bytes

    def _fetch(self, start: int, length: int) -> memoryview:
        return retried(
            lambda: self._attempt(start, length),
            what=f"bytes {start} to {start + length} cannot be read",
            where=self._where,
            pause=self._closing.wait,
        )

    def _attempt(self, start: int, length: int) -> memoryview:
        if self._closing.is_set():
            raise InputError("closed while it was read ahead", where=without_query(self._where))
        file: RangeFile | None = None
        try:
            file = self._files.pop() if self._files else self._open_file()
            if file.size != self.size:
                raise InputError(
                    f"changed while it was read, from {self.size} to {file.size} bytes",
                    where=without_query(self._where),
                    fix="run the job again when nobody writes to it",
                )
            data = memoryview(file.read_range(start, length)).cast("B")
        except FileNotFoundError as error:
            raise InputError(
                "removed while it was read",
                where=without_query(self._where),
                fix="put it back, or run the job again over what is there",
            ) from error
        except OSError:
            # Whatever state it is in: the next attempt opens it anew.
            _close(file)
            raise
        pulse.beat()
        if len(data) != length:
            _close(file)
            raise OSError(f"{len(data)} of {length} bytes came")
        self._files.append(file)
        return data


def _close(file: RangeFile | None) -> None:
    if file is not None:
        with contextlib.suppress(OSError):
            file.close()
