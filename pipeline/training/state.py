"""What a training knows after an epoch: enough to go on as if it had never been interrupted."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.models.record import LAST, EpochRange, extended


class TrainingState:
    """The weights, the optimizers, the averaged weights, and the log of the epochs that are done.

    Args:
        model: Trained in place.
        optimizers: Of the model's parameters, one a turn.
        average: Of the model's weights.

    Attributes:
        history: One row of numbers an epoch.
        ranges: Which epochs were trained with which settings.
        best: Rank of the best epoch so far; see :meth:`pipeline.models.record.Score.rank`.
    """

    def __init__(
        self, model: nn.Module, optimizers: Sequence[Optimizer], average: AveragedModel
    ) -> None:
        self.model, self.optimizers, self.average = model, tuple(optimizers), average
        self.history: list[dict[str, float]] = []
        self.ranges: list[EpochRange] = []
        self.best = -math.inf

    def add(self, row: dict[str, float], settings: Mapping[str, object]) -> None:
        """Takes note of an epoch that has ended."""
        self.history.append(row)
        self.ranges = extended(self.ranges, settings, len(self.history))

    def dump(self, **about: object) -> bytes:
        """A checkpoint; ``about`` is kept beside it, plain values only."""
        return dump(
            {
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "average": self.average.state_dict(),
                "history": self.history,
                "ranges": self.ranges,
                "best": self.best,
                **about,
            }
        )

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint, with the learning rates and decays that the optimizers have now.

        Raises:
            ConfigError: It is of a model or an optimizer of another shape.
        """
        try:
            self.model.load_state_dict(checkpoint["model"])
            for optimizer, state in zip(self.optimizers, checkpoint["optimizers"], strict=True):
                _load_optimizer(optimizer, state)
            self.average.load_state_dict(checkpoint["average"])
        except KeyError as missing:
            raise ConfigError(
                f"the last checkpoint does not fit: it has no {missing}, as those of earlier versions",
                where=LAST,
                fix="set train.overwrite=true without train.resume to train anew",
            ) from None
        except (ValueError, RuntimeError) as error:
            raise ConfigError(
                f"the last checkpoint does not fit: {str(error).splitlines()[0]}",
                where=LAST,
                fix="restore the settings it was made with, or train without train.resume",
            ) from None
        self.history, self.best = list(checkpoint["history"]), checkpoint["best"]
        self.ranges = list(checkpoint.get("ranges", ()))


def _load_optimizer(optimizer: Optimizer, state: dict[str, object]) -> None:
    """Takes over an optimizer's moments, and keeps its settings, which may have been changed since."""
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, values in zip(optimizer.param_groups, settings, strict=True):
        group.update(values)


def load_checkpoint(url: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint; only tensors and plain values are accepted."""
    state: dict[str, Any] = torch.load(
        io.BytesIO(storage.read_bytes(url)), map_location=device, weights_only=True
    )
    return state


def dump(state: Mapping[str, object]) -> bytes:
    """Tensors and plain values as one file."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
