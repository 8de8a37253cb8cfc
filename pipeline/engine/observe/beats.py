"""Beats of workers, told to the driver: through an actor, started once the driver itself sees nothing move."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline import pulse

NAME = "pipeline-beats"
BETWEEN_SECONDS = 5.0  # beats that a worker tells of
# A worker that finds nobody to tell looks again, ever later.
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 1.0, 60.0
ANSWER_SECONDS = 30.0


class Beats:
    """Counts what workers tell."""

    def __init__(self) -> None:
        self._count = 0

    def beat(self) -> None:
        """One more."""
        self._count += 1

    def count(self) -> int:
        """How many there were."""
        return self._count


class _Teller:
    """Tells of this worker's beats, now and then."""

    def __init__(self) -> None:
        self._next = 0.0
        self._look_seconds = FIRST_LOOK_SECONDS

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        try:
            ray.get_actor(NAME).beat.remote()
            self._next, self._look_seconds = now + BETWEEN_SECONDS, FIRST_LOOK_SECONDS
        except (ValueError, RayError):  # nobody listens
            self._next = now + self._look_seconds
            self._look_seconds = min(2 * self._look_seconds, LAST_LOOK_SECONDS)


_teller: _Teller | None = None


def tell_driver() -> None:
    """Has the beats of this worker told to the driver; called by what runs on workers, as often as it likes."""
    global _teller
    if _teller is None and ray.is_initialized() and ray.get_runtime_context().get_task_id():
        _teller = _Teller()
        pulse.forward(_teller)


@contextlib.contextmanager
def heard(quiet_seconds: float) -> Iterator[None]:
    """Within the block, which is connected to Ray, what moves on workers counts as a beat of this process.

    Args:
        quiet_seconds: Without a beat of this process, after which workers are listened to.
    """
    over = threading.Event()
    ear = threading.Thread(target=_listen, args=(over, quiet_seconds), name="beats", daemon=True)
    ear.start()
    try:
        yield
    finally:
        over.set()
        ear.join(ANSWER_SECONDS)


def _listen(over: threading.Event, quiet_seconds: float) -> None:
    while time.monotonic() - pulse.last_beat() < quiet_seconds:
        if over.wait(quiet_seconds / 4):
            return
    options = {"name": NAME, "get_if_exists": True, "num_cpus": 0, "max_restarts": -1}
    actor: Any = ray.remote(Beats).options(**options).remote()
    count = 0
    while not over.wait(min(quiet_seconds / 4, BETWEEN_SECONDS)):
        with contextlib.suppress(RayError):
            answer = ray.get(actor.count.remote(), timeout=ANSWER_SECONDS)
            if answer != count:
                count = answer
                pulse.beat()
