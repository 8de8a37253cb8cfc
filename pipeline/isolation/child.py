"""The process that may die: it takes requests, does the work, and leaves results in shared memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.isolation.arena import Arena
from pipeline.isolation.journal import Journal, JournalWatch

DONE, FAILED, OUT_OF_MEMORY = "done", "failed", "out of memory"
_PR_SET_PDEATHSIG = 1


def serve(
    connection: Connection, arenas: Sequence[Arena], journal: Journal, work: Any, memory_bytes: int
) -> None:
    """Answers requests until the other end is closed; never returns.

    Args:
        connection: Requests ``(request, index of an arena or None, care)`` come in, answers ``(word, ...)`` go out.
        arenas: Where results go.
        journal: Where every step is noted.
        work: ``(request, watch, care) -> result``.
        memory_bytes: What may be added to this process's memory.
    """
    with contextlib.suppress(OSError, ValueError):
        limit_memory(memory_bytes)
    with contextlib.suppress(BaseException):  # the other end is gone: so is the reason to live
        while True:
            request, index, care = connection.recv()
            answer = _answer(request, None if index is None else arenas[index], journal, care, work)
            journal.rest()
            connection.send(answer)
            del answer
    os._exit(0)


def _answer(request: Any, arena: Arena | None, journal: Journal, care: Any, work: Any) -> Any:
    try:
        if arena is not None:
            arena.clear()
        result = work(request, JournalWatch(journal, arena), care)
        if arena is None:
            return DONE, result, None
        return DONE, *arena.pack(result)
    except MemoryError:
        return OUT_OF_MEMORY, journal.read(), None
    except Exception as error:  # noqa: BLE001 - it is raised again on the other side
        return FAILED, _portable(error), traceback.format_exc()


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a foreign exception does when it is copied
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def limit_memory(memory_bytes: int) -> None:
    """Makes allocations fail once this process holds so much more than now; what is shared does not count."""
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, ((held << 10) + memory_bytes, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def settle(parent: int | None, *keep: int) -> None:
    """What a child that was forked does first: lets go of all that it has inherited.

    A worker's sockets must not stay open in here, or nobody would learn of that worker's death.

    Args:
        parent: Process to die with; None where that cannot be asked for.
        keep: Descriptors that stay open, beside the standard ones.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked, and ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    if parent is not None:
        die_with_parent(parent)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def die_with_parent(parent: int) -> None:
    """Asks the kernel to end this process with its parent, and does so if that is gone already."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main(arguments: Sequence[str]) -> None:
    """A child that was started afresh: descriptors of the connection, the journal and the arenas, and the parent.

    The first message is the work, the names of the modalities and the limit of memory.
    """
    parent, pipe, journal, *arenas = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        die_with_parent(parent)
    connection = Connection(pipe)
    work, names, memory_bytes = connection.recv()
    serve(
        connection,
        [Arena(file) for file in arenas],
        Journal(names, journal),
        work,
        memory_bytes,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
