"""Memory that two processes share: one writes a result into it, the other reads it where it lies."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

# Address space; only what is written to becomes memory.
ARENA_BYTES = 8 << 30
_ALIGNMENT = 64  # of Arrow's buffers


def shared_memory(size: int) -> int:
    """Descriptor of new memory that processes can share, all zeros; only what is written to takes any."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("pipeline")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.truncate(file, size)
    return file


class Arena:
    """A stretch of shared memory.

    Args:
        file: What :func:`shared_memory` gave; the other process inherits it.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self._map = mmap.mmap(file, ARENA_BYTES)
        self._used = 0
        self._start = np.frombuffer(self._map, dtype=np.uint8, count=1).ctypes.data

    def close(self) -> None:
        """Gives the memory back once nothing is left of what was in it."""
        os.close(self.file)

    def clear(self) -> None:
        """Gives out all of it anew."""
        self._used = 0

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array in the arena, not initialised; outside it where it is full."""
        size = math.prod(shape) * dtype.itemsize
        if self._used + size > ARENA_BYTES:
            return np.empty(shape, dtype=dtype)
        array: np.ndarray = np.frombuffer(
            self._map, dtype=dtype, count=math.prod(shape), offset=self._used
        ).reshape(shape)
        self._used += -(-size // _ALIGNMENT) * _ALIGNMENT
        return array

    def place(self, buffer: pa.Buffer) -> tuple[int, int] | None:
        """Offset and size of a buffer in the arena, where it lies or is now copied to; None where the arena is full."""
        offset = buffer.address - self._start
        if 0 <= offset < ARENA_BYTES:
            return offset, buffer.size
        if self._used + buffer.size > ARENA_BYTES:
            return None
        offset = self._used
        self.room((buffer.size,), np.dtype(np.uint8))[:] = np.frombuffer(buffer, dtype=np.uint8)
        return offset, buffer.size

    def view(self) -> np.ndarray:
        """All of it, as an object that lives as long as anything that was made of it."""
        return np.frombuffer(self._map, dtype=np.uint8)


class Arenas:
    """Arenas of one child, each given out again when nothing is left of what was in it.

    Args:
        arenas: All of them.
    """

    def __init__(self, arenas: Sequence[Arena]) -> None:
        self.all = arenas
        self._free = list(range(len(arenas)))

    def take(self) -> int | None:
        """Index of a free one; None where all are in use."""
        return self._free.pop() if self._free else None

    def give_back(self, index: int) -> None:
        """Takes back one that nothing was put into."""
        self._free.append(index)

    def lend(self, index: int) -> pa.Buffer:
        """All of an arena, which is free when the last buffer that refers to it is gone."""
        view = self.all[index].view()
        segment = pa.py_buffer(view)
        weakref.finalize(view, self._free.append, index)
        return segment
