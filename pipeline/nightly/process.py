"""A night as a process of its own: what ends it, be it a stall or a crash, ends nothing else."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

PATIENCE_SECONDS = 90  # that a night which is interrupted may take to end


def begin(command: Sequence[str], stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Starts a night, in a session of its own: Ctrl-C reaches this process alone, which passes it on once.

    Args:
        command: The night.
        stdout: A file descriptor for what it answers; None for this process's own.
    """
    return subprocess.Popen(list(command), start_new_session=True, stdout=stdout)


def end(process: subprocess.Popen[bytes], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Interrupts a night that is under way, and waits for its end."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
