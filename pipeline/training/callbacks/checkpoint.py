"""Checkpoints in the run folder, and the log of the epochs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.models.record import BEST, CHECKPOINTS, LAST, PROGRESS, Score
from pipeline.runs import METRICS_LOG
from pipeline.training.callbacks.base import Callback
from pipeline.training.state import dump

if TYPE_CHECKING:
    from pipeline.training.loop import Training

SECONDS_BETWEEN_NOTES = 2.0


class Checkpoint(Callback):
    """Writes the last checkpoint, the best one and the log after every epoch, and now and then how far it is.

    Args:
        run: The run folder.
        score: What says how good an epoch is.
        about: What is kept in the last checkpoint beside the state, plain values only.
    """

    def __init__(self, run: str, score: Score, about: Mapping[str, object]) -> None:
        self.run, self.score, self.about = run, score, about
        self._noted = 0.0

    def step_ended(self, training: Training, epochs: float) -> None:
        """Leaves word of how far it is, for the driver's progress line."""
        if time.monotonic() - self._noted > SECONDS_BETWEEN_NOTES:
            self._noted = time.monotonic()
            note = json.dumps({"epoch": epochs}).encode()
            storage.write_bytes(storage.join(self.run, CHECKPOINTS, PROGRESS), note)

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """Writes the best checkpoint first, then the last one, then the log, which tells of an epoch that is safe."""
        state = training.state
        state.best = max(state.best, self.score.rank(row))
        # Of epochs that only chance tells apart the last is kept: the best of many on few samples is the luckiest.
        if self.score.is_as_good(row, state.best):
            best = {
                "weights": training.average.module.state_dict(),
                "metrics": row,
                "learned": dict(training.settled),
            }
            storage.write_bytes(storage.join(self.run, CHECKPOINTS, BEST), dump(best))
        last = state.dump(**self.about)
        storage.write_bytes(storage.join(self.run, CHECKPOINTS, LAST), last)
        lines = "".join(json.dumps(epoch) + "\n" for epoch in state.history)
        storage.write_bytes(storage.join(self.run, METRICS_LOG), lines.encode())
