"""An end of a training once its time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.models.record import TIME_IS_OVER
from pipeline.training.callbacks.base import Callback

if TYPE_CHECKING:
    from pipeline.training.loop import Training


class TimeLimit(Callback):
    """Stops a training behind the step in which its time is over, with a checkpoint that it can go on from.

    Args:
        seconds: From where these workers begin.
        now: A clock, seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._now = seconds, now
        self._until = now() + seconds

    def begin(self, training: Training) -> None:
        """The time counts from here."""
        self._until = self._now() + self.seconds

    def step_ended(self, training: Training, epochs: float) -> None:
        """The next step is the last one."""
        if self._is_over(training):
            training.wants_checkpoint = True

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """This epoch is the last one."""
        self._is_over(training)

    def _is_over(self, training: Training) -> bool:
        if self._now() < self._until:
            return False
        training.stop = training.stop or TIME_IS_OVER
        return True
