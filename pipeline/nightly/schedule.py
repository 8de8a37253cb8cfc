"""Keeps a schedule in the foreground: every night is a process of its own, so that none can end the schedule."""

from __future__ import annotations

import datetime
import logging
import signal
import subprocess
import threading
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from pipeline.logs import event
from pipeline.nightly.clock import SECOND, time_zone
from pipeline.nightly.cron import Cron, parse_cron
from pipeline.nightly.process import begin, end

MAX_LATE_SECONDS = 3600  # a night that could not begin for longer is left to the next

logger = logging.getLogger(__name__)


def serve(command: Sequence[str], cron: str, timezone: str) -> int:
    """Runs a command with ``--date`` at every time of a schedule, until SIGINT or SIGTERM.

    A command that is still at work when its next time comes is left to end, and that time is passed over.

    Args:
        command: The night.
        cron: Five fields; see :func:`pipeline.nightly.cron.parse_cron`.
        timezone: Name of a time zone, such as ``Asia/Shanghai``.

    Returns:
        0: a signal is how this ends.

    Raises:
        ConfigError: The schedule or the time zone is not written as such.
    """
    zone = time_zone(timezone)
    trigger = _Trigger(parse_cron(cron), zone)
    over, night = threading.Event(), _Runner(command, zone)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    scheduler = BackgroundScheduler(timezone=datetime.UTC)
    job = scheduler.add_job(
        night, trigger, coalesce=True, max_instances=1, misfire_grace_time=MAX_LATE_SECONDS
    )
    scheduler.start()
    event(
        logger,
        "serving",
        cron=cron,
        timezone=timezone,
        next=str(job.next_run_time.astimezone(zone)),
    )
    over.wait()
    night.stop()
    scheduler.shutdown(wait=True)
    event(logger, "stopped")
    return 0


class _Trigger(BaseTrigger):  # type: ignore[misc]
    """APScheduler's view of a schedule: its moments in UTC, where a difference of two is the time between them."""

    def __init__(self, cron: Cron, zone: ZoneInfo) -> None:
        self._cron, self._zone = cron, zone

    def get_next_fire_time(
        self, previous_fire_time: datetime.datetime | None, now: datetime.datetime
    ) -> datetime.datetime:
        return self._cron.after(previous_fire_time or now - SECOND, self._zone)


class _Runner:
    """Runs the nights, one at a time."""

    def __init__(self, command: Sequence[str], zone: ZoneInfo) -> None:
        self._command, self._zone = command, zone
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def __call__(self) -> None:
        date = datetime.datetime.now(self._zone).date().isoformat()
        with self._lock:
            if self._stopping:
                return
            self._process = begin([*self._command, "--date", date])
        code = self._process.wait()
        event(logger, "night_ended", date=date, exit_code=code)

    def stop(self) -> None:
        """Interrupts the night that is under way, and waits for its end."""
        with self._lock:
            self._stopping = True
            process = self._process
        if process is not None:
            end(process)
