"""The process that may die: it takes requests, does the work, and leaves results in shared memory."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import pulse
from pipeline.isolation.answer import encode, encode_error
from pipeline.isolation.arena import Arena
from pipeline.isolation.journal import Journal, JournalWatch

DONE, FAILED, OUT_OF_MEMORY = "done", "failed", "out of memory"

# There are as many children as cores; and the last digits of a product depend on how many threads share it.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
LARGE_BUFFER_BYTES = 24 << 20  # at most 32 MiB, beyond which it does not learn


@dataclass(frozen=True)
class Surroundings:
    """What a child has in common with the process that has it started, which may have changed since the server began.

    Attributes:
        folder: Where relative paths begin.
        environment: Its variables.
        modules: Folders of modules.
    """

    folder: str
    environment: dict[str, str]
    modules: list[str]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process."""
        return cls(os.getcwd(), dict(os.environ), list(sys.path))

    def take(self) -> None:
        """Makes them those of this process."""
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment | ONE_THREAD)
        sys.path[:] = self.modules


def serve(
    connection: Connection,
    arenas: Sequence[Arena],
    journal: Journal,
    work: object,
    memory_bytes: int,
) -> None:
    """Answers requests until the other end is closed; never returns.

    Args:
        connection: Requests ``(request, index of an arena or None, care)`` come in, answers go out as JSON,
            see :mod:`pipeline.isolation.answer`.
        arenas: Where results go.
        journal: Where every step is noted.
        work: ``(request, watch, care) -> result``.
        memory_bytes: What may be added to this process's memory.
    """
    with contextlib.suppress(OSError, ValueError):
        limit_memory(memory_bytes)
    keep_freed_memory()
    with contextlib.suppress(BaseException):  # the other end is gone: so is the reason to live
        while True:
            request, index, care = connection.recv()
            arena = None if index is None else arenas[index]
            head, buffers = _answer(request, arena, journal, care, work)
            journal.rest()
            _send(connection, arena, head, buffers)
            del head, buffers
    os._exit(0)


def _answer(
    request: Any, arena: Arena | None, journal: Journal, care: Any, work: Any
) -> tuple[dict[str, Any], list[pa.Buffer]]:
    try:
        if arena is not None:
            arena.clear()
        value, buffers = encode(work(request, JournalWatch(journal, arena), care))
        return {"word": DONE, "value": value}, buffers
    except MemoryError:
        return {"word": OUT_OF_MEMORY, "entry": journal.values()}, []
    except Exception as error:  # noqa: BLE001 - it is raised again on the other side
        return {"word": FAILED, "error": encode_error(error), "trace": traceback.format_exc()}, []


def _send(
    connection: Connection,
    arena: Arena | None,
    head: dict[str, object],
    buffers: Sequence[pa.Buffer],
) -> None:
    """Sends the answer, and behind it what the arena has no room for."""
    places = [None if arena is None else arena.place(buffer) for buffer in buffers]
    connection.send_bytes(json.dumps(head | {"places": places}, default=str).encode())
    for place, buffer in zip(places, buffers, strict=True):
        if place is None:
            connection.send_bytes(buffer)


def limit_memory(memory_bytes: int) -> None:
    """Makes allocations fail once this process holds so much more than now; what is shared does not count."""
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, ((held << 10) + memory_bytes, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def keep_freed_memory() -> None:
    """Lets glibc reuse the large buffers of decoders, which it would map and unmap for every image.

    It learns from what is freed how large a buffer may be and still stay in its heap. Where results go to an arena, no
    large one is ever freed, and a sixth of the time went into page faults.
    """
    np.empty(LARGE_BUFFER_BYTES, dtype=np.uint8)


def main(descriptors: Sequence[int]) -> None:
    """The child's program, in a copy of the fork server.

    The first message is the :class:`Surroundings`, and the second the work, the names of the modalities and the limit
    of memory: only with the parent's folders of modules can the work be read.

    Args:
        descriptors: Of the connection, the journal, the parent's output and errors, and the arenas.
    """
    pipe, journal, output, errors, *arenas = descriptors
    os.dup2(output, 1)
    os.dup2(errors, 2)
    connection = Connection(pipe)
    connection.recv().take()
    work, names, memory_bytes = connection.recv()
    noted = Journal(names, journal)
    pulse.forward(noted.moved)
    serve(
        connection,
        [Arena(file) for file in arenas],
        noted,
        work,
        memory_bytes,
    )
