"""An early end, once further epochs make the model no better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.models.record import Score
from pipeline.training.callbacks.base import Callback

if TYPE_CHECKING:
    from pipeline.training.loop import Training


class EarlyStop(Callback):
    """Ends a training after epochs in a row that were no better than the best before them.

    Its only memory is the training's history, so that a training that goes on from a checkpoint stops where it would
    have stopped.

    Args:
        score: What says how good an epoch is.
        patience: Epochs in a row that may be no better.
        min_delta: By how much an epoch must be better to count as better.

    Source:
        Prechelt 1998, "Early stopping - but when?", section 2 (the criterion UP, on the score itself).
    """

    def __init__(self, score: Score, patience: int, min_delta: float = 0.0) -> None:
        self.score, self.patience, self.min_delta = score, patience, min_delta

    def begin(self, training: Training) -> None:
        """A training that has stopped early before does not go on."""
        self._judge(training)

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """Looks at the epochs so far."""
        self._judge(training)

    def _judge(self, training: Training) -> None:
        history = training.state.history
        if history and epochs_without_gain(history, self.score, self.min_delta) >= self.patience:
            training.stop = (
                f"{self.score.column(history[-1])} was no better for {self.patience} epochs"
            )


def epochs_without_gain(
    history: Sequence[Mapping[str, float]], score: Score, min_delta: float
) -> int:
    """How many of the last epochs, in a row, were not better than the best before them by more than ``min_delta``.

    Args:
        history: A row an epoch.
        score: What says how good an epoch is.
        min_delta: See above.
    """
    best, since = -math.inf, 0
    for row in history:
        rank = score.rank(row)
        if rank > best + min_delta:
            best, since = rank, 0
        else:
            since += 1
    return since
