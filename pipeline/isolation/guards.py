"""The guards of one process: as many as may work at a time, each lent to one thread and then to the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.isolation.guard import Guard, Interrupted


@dataclass(eq=False)
class _Entry:
    """A guard, and what it was made for."""

    guard: Guard
    purpose: bytes


class Guards:
    """Lends guards to threads, and makes them when they are first needed.

    One serves a process with one thread. An executor whose threads each decode a part sets :attr:`limit`.

    Attributes:
        limit: Guards that may be lent at a time; further threads wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._process = os.getpid()
        self._idle: list[_Entry] = []
        self._lent: set[_Entry] = set()
        self._interrupts = 0
        self.limit = 1

    @contextmanager
    def lent(self, purpose: bytes, make: Callable[[], Guard]) -> Iterator[Guard]:
        """A guard that no other thread uses for as long as the block lasts.

        Args:
            purpose: What it does; one that did something else is ended for it.
            make: Makes one.
        """
        entry = self._take(purpose, make)
        try:
            yield entry.guard
        finally:
            self._give_back(entry)

    def end_idle(self) -> None:
        """Ends the children of the guards that no thread uses; the next thread gets another."""
        with self._changed:
            entries, self._idle = self._idle, []
        if self._process == os.getpid():  # in a copy of this process they are not ours to end
            for entry in entries:
                entry.guard.close()

    def interrupt(self) -> None:
        """Ends the children of all guards that are in use; their threads, and those that wait, are told by an error."""
        with self._changed:
            entries = list(self._lent)
            self._interrupts += 1
            self._changed.notify_all()
        for entry in entries:
            entry.guard.interrupt()

    def _take(self, purpose: bytes, make: Callable[[], Guard]) -> _Entry:
        with self._changed:
            self._forget_after_fork()
            interrupts = self._interrupts
            while not self._idle and len(self._lent) >= self.limit:
                self._changed.wait()
                if interrupts != self._interrupts:
                    raise Interrupted
            # The one that was used last: its child has started.
            at = next(
                (at for at in reversed(range(len(self._idle))) if self._fits(at, purpose)), None
            )
            stale = None
            if at is not None:
                entry = self._idle.pop(at)
            else:
                stale = self._idle.pop() if self._idle else None
                entry = _Entry(make(), purpose)
            self._lent.add(entry)
        if stale is not None:
            stale.guard.close()
        return entry

    def _fits(self, at: int, purpose: bytes) -> bool:
        return self._idle[at].purpose == purpose

    def _give_back(self, entry: _Entry) -> None:
        with self._changed:
            self._lent.discard(entry)
            if not entry.guard.interrupted:
                self._idle.append(entry)
            self._changed.notify()
        if entry.guard.interrupted:
            entry.guard.close()

    def _forget_after_fork(self) -> None:
        if self._process != os.getpid():
            self._process, self._idle, self._lent = os.getpid(), [], set()
