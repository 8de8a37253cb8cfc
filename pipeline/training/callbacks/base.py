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

    def checkpoint(self, training: Training) -> None:
        """Behind a step, where a worker has asked for it: the training's state says where within the epoch it is."""
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

    def close(self) -> None:
        """When the training is over, whatever has ended it."""
        return
