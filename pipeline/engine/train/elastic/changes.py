"""What happens to the workers of a training: how many were started, and why those before them have ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.controller import state as states
from ray.train.v2.api.exceptions import PreemptionError, WorkerGroupError

from pipeline import storage
from pipeline.engine.observe.looks import looking
from pipeline.errors import in_words
from pipeline.logs import event
from pipeline.models.record import CHECKPOINTS

logger = logging.getLogger(__name__)
CHANGES = f"{CHECKPOINTS}/workers.jsonl"
RESIZED, TAKEN_AWAY, LOST = "room for other workers", "node taken away", "worker lost"
NOT_STARTED, NO_CONTROLLER = "workers did not start", "controller lost"


@dataclass(frozen=True)
class Change:
    """What has happened to the workers of a training.

    Attributes:
        workers: How many were started together; 0 where those there were have ended.
        why: One of the constants above; empty where workers were started for the first time.
        error: What had ended them; empty where nothing had.
    """

    workers: int
    why: str = ""
    error: str = ""


class ChangesLog(ControllerCallback):  # type: ignore[misc, unused-ignore]
    """Writes RUN/checkpoints/workers.jsonl; lives where Ray Train's controller does, and may travel there.

    Args:
        run: The run folder.
        before: Changes of the same training, under a controller that was lost.
    """

    def __init__(self, run: str, before: Sequence[Change] = ()) -> None:
        self.run, self.changes = run, list(before)

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Takes note of ends and starts."""
        match current_state:
            case states.RestartingState(training_failed_error=error):
                why = TAKEN_AWAY if isinstance(error, PreemptionError) else LOST
                self._add(Change(0, why, _first_cause(error)))
            case states.ReschedulingState(training_failed_error=error):
                self._add(Change(0, NOT_STARTED, in_words(error)))
            case states.ResizingState():
                self._add(Change(0, RESIZED))
            case states.RunningState() if isinstance(previous_state, states.SchedulingState):
                why = self.changes[-1].why if self.changes else ""
                decision: Any = previous_state.scaling_decision
                self._add(Change(decision.num_workers, why))

    def _add(self, change: Change) -> None:
        self.changes.append(change)
        with suppress(Exception):  # whatever it is, no training ends because of its log
            write_changes(self.run, self.changes)


def _first_cause(error: Exception) -> str:
    """What has ended a worker, in one line, rather than all that Ray knows of it."""
    if not isinstance(error, WorkerGroupError) or not error.worker_failures:
        return in_words(error)
    rank, failure = min(error.worker_failures.items())
    failure = getattr(failure, "health_check_failure", failure)
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return (
        f"worker {rank}: {in_words(RuntimeError(lines[-1] if lines else type(failure).__name__))}"
    )


def write_changes(run: str, changes: Sequence[Change]) -> None:
    """Replaces what a run knows of its workers."""
    rows = "".join(json.dumps(asdict(change)) + "\n" for change in changes)
    storage.write_bytes(storage.join(run, CHANGES), rows.encode())


def read_changes(run: str) -> list[Change]:
    """What has happened to the workers of the last training of a run, in order; nothing where it needed no Ray."""
    try:
        rows = storage.read_bytes(storage.join(run, CHANGES)).decode().splitlines()
    except FileNotFoundError:
        return []
    return [Change(**json.loads(row)) for row in rows]


def counted(changes: Sequence[Change]) -> dict[str, float]:
    """Metrics of a summary; none where workers were started once."""
    if len(changes) < 2:
        return {}
    ends = [change.why for change in changes if not change.workers]
    resizes = ends.count(RESIZED)
    return {
        "restarts": len(ends) - resizes,
        "resizes": resizes,
        "workers_at_the_end": changes[-1].workers,
    }


@contextmanager
def told(run: str) -> Iterator[None]:
    """Logs what happens to the workers while the block runs, in this process."""
    storage.remove(storage.join(run, CHANGES))
    known = 0

    def look() -> None:
        nonlocal known
        changes = read_changes(run)
        for change in changes[known:]:
            if change.workers:
                event(logger, "workers_started", workers=change.workers)
            else:
                event(logger, "workers_ended", why=change.why, error=change.error)
        known = len(changes)

    with looking(look):
        yield
