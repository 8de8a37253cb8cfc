"""What a training knows after an epoch: enough to go on as if it had never been interrupted."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.models.record import LAST, EpochRange, extended
from pipeline.training.optimization import WeightAverage


class TrainingState:
    """The weights, the optimizer, the averaged weights, and the log of the epochs that are done.

    Args:
        model: Trained in place.
        optimizer: Of the model's parameters.
        average: Of the model's weights.

    Attributes:
        history: One row of numbers an epoch.
        ranges: Which epochs were trained with which settings.
        best: Rank of the best epoch so far; see :meth:`pipeline.models.record.Score.rank`.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage
    ) -> None:
        self.model, self.optimizer, self.average = model, optimizer, average
        self.history: list[dict[str, float]] = []
        self.ranges: list[EpochRange] = []
        self.best = -math.inf

    def add(self, row: dict[str, float], settings: Mapping[str, Any]) -> None:
        """Takes note of an epoch that has ended."""
        self.history.append(row)
        self.ranges = extended(self.ranges, settings, len(self.history))

    def dump(self, **about: Any) -> bytes:
        """A checkpoint; ``about`` is kept beside it, plain values only."""
        return dump(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict(),
                "history": self.history,
                "ranges": self.ranges,
                "best": self.best,
                **about,
            }
        )

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint.

        Raises:
            ConfigError: It is of a model or an optimizer of another shape.
        """
        try:
            self.model.load_state_dict(checkpoint["model"])
            self.optimizer.load_state_dict(checkpoint["optimizer"])
            self.average.load_state_dict(checkpoint["average"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"the last checkpoint does not fit: {str(error).splitlines()[0]}",
                where=LAST,
                fix="restore the settings it was made with, or train without train.resume",
            ) from None
        self.history, self.best = list(checkpoint["history"]), checkpoint["best"]
        self.ranges = list(checkpoint.get("ranges", ()))


def load_checkpoint(url: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint; only tensors and plain values are accepted."""
    state: dict[str, Any] = torch.load(
        io.BytesIO(storage.read_bytes(url)), map_location=device, weights_only=True
    )
    return state


def dump(state: Mapping[str, Any]) -> bytes:
    """Tensors and plain values as one file."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
