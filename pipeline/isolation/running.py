"""The child of a guard as its parent sees it: its connection, its end, and the time that its step has taken."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from multiprocessing.connection import Connection
from pathlib import Path

from pipeline.isolation.journal import Entry

SECONDS_BETWEEN_LOOKS = 0.2
STARVED = 10  # times the limit that a member may take where the machine, not the decoder, is slow


class Child:
    """A running child."""

    def __init__(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.connection = connection
        self._process = process

    def receive(self) -> bytes:
        """The next message, as bytes: what it sends is never unpickled."""
        return self.connection.recv_bytes()

    def wait(self) -> str:
        """Waits for its end; says how it ended."""
        code = self._process.wait()
        if code >= 0:
            return f"ended with code {code}"
        name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
        return f"was ended by {name}"

    def kill(self) -> None:
        """Ends it, whatever it is at, while another thread may be waiting for it."""
        self._process.kill()

    def end(self) -> None:
        """Ends it, whatever it is at, and gives its connection back."""
        self.connection.close()
        self._process.kill()
        self.wait()


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
