"""Ctrl-C and SIGTERM: both reach a job as KeyboardInterrupt, and neither cuts its tidying short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def as_interrupt() -> Iterator[None]:
    """Makes SIGTERM raise KeyboardInterrupt, as SIGINT does, in the main thread.

    Ray and Ray Train put handlers of their own in place, which end the process with
    ``sys.exit(15)`` or ``sys.exit(0)``; a SystemExit out of the block is taken for one of these.
    The handlers found at the start are put back at the end.

    Raises:
        KeyboardInterrupt: The process has been asked to stop.
    """
    if not _in_main_thread():
        yield
        return
    before = {sign: signal.getsignal(sign) for sign in _STOPS}
    catch_sigterm()
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def catch_sigterm() -> None:
    """Puts our SIGTERM handler in place (again, where a library has replaced it)."""
    if _in_main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def ignored() -> Iterator[None]:
    """Ignores SIGINT and SIGTERM while the block, which must end in bounded time, runs."""
    if not _in_main_thread():
        yield
        return
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in _STOPS}
    try:
        yield
    finally:
        for sign, handler in before.items():
            if handler is not None:  # of one that Python has not set, or has forgotten at its end
                signal.signal(sign, handler)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
