"""The process that may die: it takes requests, does the work, and leaves results in shared memory."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
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
ANY_PARENT = 0
LARGE_BUFFER_BYTES = 24 << 20  # at most 32 MiB, beyond which it does not learn
_PR_SET_PDEATHSIG = 1


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


def die_with_parent(parent: int) -> None:
    """Asks the kernel to end this process with its parent, and does so if that is gone already."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main(arguments: Sequence[str]) -> None:
    """The child's program.

    The first message is the work, the names of the modalities and the limit of memory.

    Args:
        arguments: Process to die with, or ``ANY_PARENT``; descriptors of the connection, the journal and the arenas.
    """
    parent, pipe, journal, *arenas = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked, and ends this process
    if sys.platform == "linux" and parent != ANY_PARENT:
        die_with_parent(parent)
    connection = Connection(pipe)
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
