"""Ends a night in which nothing moves any more; see :mod:`pipeline.pulse` for what moves."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable

from pipeline import pulse


class Watchdog:
    """Ends this process where nothing moved for too long, with the stacks of all its threads on stderr.

    Args:
        seconds: Too long; 0 never is.
        give_up: Told of it before the end.
    """

    def __init__(self, seconds: float, give_up: Callable[[float], None]) -> None:
        self._seconds, self._give_up = seconds, give_up
        self._fed = time.monotonic()
        self._over = threading.Event()

    def __enter__(self) -> Watchdog:
        self.feed()
        if self._seconds:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def feed(self, ahead: float = 0.0) -> None:
        """Begins to count anew, ``ahead`` seconds from now."""
        self._fed = time.monotonic() + ahead

    def _watch(self) -> None:
        while not self._over.wait(min(self._seconds / 4, 5.0)):
            if time.monotonic() - max(self._fed, pulse.last_beat()) > self._seconds:
                faulthandler.dump_traceback(2, all_threads=True)  # stderr, whatever stands for it
                try:
                    self._give_up(self._seconds)
                finally:
                    os._exit(1)
