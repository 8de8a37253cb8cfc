"""Why a checkpoint is wanted at once: a node will be taken away, or the workers are about to be other ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.training.callbacks.base import Callback
from pipeline.training.callbacks.checkpoint import Checkpoint

if TYPE_CHECKING:
    from pipeline.training.loop import Training

SECONDS_BETWEEN_LOOKS = 1.0
# From a notice until the node is gone: so much of the training is done again at most.
SECONDS_BETWEEN_CHECKPOINTS = 10.0


def node_will_go() -> bool:
    """Whether Ray has told this worker that a node of its training will be taken away.

    This reads what ``ray.train.get_preemption_info`` does, without that function's barrier: all workers would have to
    ask equally often, and would wait for each other each time. False where this version of Ray keeps it elsewhere.
    """
    from ray.train.v2._internal.execution import context

    try:
        own = context.get_train_context()
    except (AttributeError, RuntimeError):
        return False
    return getattr(getattr(own, "preemption_context", None), "preemption_info", None) is not None


class _Request:
    """What another thread of this process has asked for; a process trains once."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.checkpoints: list[Checkpoint] = []


_request = _Request()


def ask() -> None:
    """Has the training of this process write a checkpoint behind one of its next steps."""
    _request.is_open.set()


def is_written() -> bool:
    """Whether the checkpoint that :func:`ask` has asked for lies in the run folder."""
    return not _request.is_open.is_set() and not any(
        checkpoint.is_writing for checkpoint in _request.checkpoints
    )


class Notices(Callback):
    """Asks for checkpoints where there is a reason; any worker may have one.

    Args:
        has_reason: Whether there is one, beside those of :func:`ask`; asked once a second.
    """

    def __init__(self, has_reason: Callable[[], bool] = node_will_go) -> None:
        self._has_reason = has_reason
        self._looked = self._written = float("-inf")

    def begin(self, training: Training) -> None:
        """Finds out who writes here; the first worker alone does."""
        _request.is_open.clear()
        _request.checkpoints = [
            callback for callback in training.callbacks if isinstance(callback, Checkpoint)
        ]

    def step_ended(self, training: Training, epochs: float) -> None:
        """Asks for a checkpoint behind the next step: at once after a notice, and then every few seconds."""
        now = time.monotonic()
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            is_late = now - self._written >= SECONDS_BETWEEN_CHECKPOINTS
            training.wants_checkpoint |= is_late and self._has_reason()
        training.wants_checkpoint |= _request.is_open.is_set()

    def checkpoint(self, training: Training) -> None:
        """All that was asked for is being written."""
        self._written = time.monotonic()
        _request.is_open.clear()
