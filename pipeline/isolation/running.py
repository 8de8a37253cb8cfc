"""The child of a guard as its parent sees it: its connection, its end, and the time that its step has taken."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from pipeline.isolation.forkserver import ForkServer, ServerEnded
from pipeline.isolation.journal import Entry

_FIRST_PAUSE = 0.001  # seconds
SECONDS_BETWEEN_LOOKS = 0.2
STARVED = 10  # times the limit that a member may take where the machine, not the decoder, is slow


class Child:
    """A running child.

    Args:
        connection: To it.
        server: Which has started it.
        pid: Its process.
    """

    def __init__(self, connection: Connection, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.connection = connection
        self._server = server
        self._lock = threading.Lock()
        self._end = ""

    def receive(self) -> bytes:
        """The next message, as bytes: what it sends is never unpickled."""
        return self.connection.recv_bytes()

    def wait(self) -> str:
        """Waits for its end; says how it ended."""
        pause = _FIRST_PAUSE
        while not self._has_ended():
            time.sleep(pause)
            pause = min(2 * pause, SECONDS_BETWEEN_LOOKS)
        return self._end

    def kill(self) -> None:
        """Ends it, whatever it is at, while another thread may be waiting for it."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if (
                not self._end
            ):  # its number is its own for as long as nobody has been told of its end
                os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """Ends it, whatever it is at, and gives its connection back."""
        self.connection.close()
        self.kill()
        self.wait()

    def _has_ended(self) -> bool:
        with self._lock:
            if not self._end:
                try:
                    self._end = _in_words(self._server.code_of(self.pid))
                except ServerEnded:
                    self._end = "ended with the process that had started it"
            return bool(self._end)


def _in_words(code: int | None) -> str:
    """How a process ended; empty while it has not."""
    if code is None:
        return ""
    if code >= 0:
        return f"ended with code {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    return f"was ended by {name}"


class Clock:
    """How long the step that a child is at has taken."""

    def __init__(self, pid: int, limit_seconds: float) -> None:
        self._pid = pid
        self._limit = limit_seconds
        self._steps = -1
        self._began = self._began_cpu = 0.0
        self._asleep = 0.0

    def is_over(self, entry: Entry) -> bool:
        """Whether it has taken too long: as time on the clock, unless the child was kept from running."""
        now, (cpu, sleeping) = time.monotonic(), _look_at(self._pid)
        if entry.modality is None or entry.steps != self._steps:
            self._steps, self._began, self._began_cpu = entry.steps, now, cpu
            self._asleep = 0.0
            return False
        self._asleep += SECONDS_BETWEEN_LOOKS if sleeping else 0.0
        passed = now - self._began
        if passed <= self._limit:
            return False
        worked = cpu - self._began_cpu + self._asleep
        return worked > 0.9 * self._limit or passed > STARVED * self._limit


def _look_at(pid: int) -> tuple[float, bool]:
    """CPU seconds of a process, and whether it sleeps; elsewhere than on Linux it always seems to."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, True
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"), words[0] in "SD"
