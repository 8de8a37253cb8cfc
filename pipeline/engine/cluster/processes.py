"""The processes that this one has started, and how to end them for certain."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psutil import Process

GRACE_SECONDS = 3.0
_ROUNDS = ("wait", "terminate", "kill", "kill")


def descendants() -> set[Process]:
    """Children of this process, theirs, and so on."""
    return set(_psutil().Process().children(recursive=True))


def marked(name: str, value: str) -> set[Process]:
    """Processes, whosever children, that were started with one value in their environment.

    Ray's raylet starts processes of its own. Those that it leaves behind when it is ended early
    are no longer descendants of this process, but they carry what it was started with.
    """
    psutil = _psutil()
    processes = set()
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(name) == value:
                processes.add(process)
        except psutil.Error:  # another user's, or one that has just ended
            continue
    return processes


def end(find: Callable[[], set[Process]]) -> None:
    """Waits for processes to end, then terminates and at last kills those that have not.

    Args:
        find: Looks for them, anew each time: one that ends may leave behind another.
    """
    psutil = _psutil()
    for action in _ROUNDS:
        alive = find()
        for process in alive:
            try:
                if action != "wait":
                    getattr(process, action)()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(alive, timeout=GRACE_SECONDS)


def _psutil() -> Any:
    # Ray carries a copy of its own, which comes first once ray has been imported: always the same one, whoever asks.
    import ray  # noqa: F401, I001
    import psutil

    return psutil
