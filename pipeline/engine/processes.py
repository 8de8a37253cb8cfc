"""The processes that this one has started, and how to end them for certain."""

from __future__ import annotations

from typing import Any


def descendants() -> set[Any]:
    """Children of this process, theirs, and so on: a set of ``psutil.Process``."""
    psutil = _psutil()
    return set(psutil.Process().children(recursive=True))


def end(processes: set[Any], *, grace_seconds: float = 3.0) -> None:
    """Waits for processes to end, then terminates and at last kills those that have not.

    Args:
        processes: ``psutil.Process`` objects; those that have ended already are ignored.
        grace_seconds: How long each of the two waits lasts.
    """
    psutil = _psutil()
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for stop in ("terminate", "kill"):
        for process in alive:
            try:
                getattr(process, stop)()
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(alive, timeout=grace_seconds)


def _psutil() -> Any:
    # Ray carries its own copy, which can be imported once ray has been.
    import ray  # noqa: F401, I001
    import psutil  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return psutil
