"""When a training calls what happens beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.training.loop import Training


class Callback(Protocol):
    """Is called by a training; who derives from it writes the methods that matter, the others do nothing."""

    def begin(self, training: Training) -> None:
        """Before the first epoch; what the training has done before may be put into its state."""
        return

    def step_ended(self, training: Training, epochs: float) -> None:
        """After a step.

        Args:
            training: Whose.
            epochs: Done so far, with the share of the present one.
        """
        return

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """After an epoch, which is in the training's history.

        Args:
            training: Whose.
            row: The epoch's numbers, to which more may be added.
        """
        return

    def end(self, training: Training) -> None:
        """After the last epoch."""
        return
