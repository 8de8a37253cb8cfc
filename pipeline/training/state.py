"""What a training knows after an epoch, or within one: enough to go on as if it had never been interrupted."""

from __future__ import annotations

import io
import logging
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.models.record import CHECKPOINTS, EARLIER, LAST, EpochRange, extended

logger = logging.getLogger(__name__)
# What torch.load says of a file that is not whole, or no checkpoint.
UNREADABLE = (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError)


@dataclass(frozen=True)
class Position:
    """Where a training is within an epoch, and what it has counted there; sums are those over all workers.

    Attributes:
        rows: Rows of the epoch that were used, of all workers.
        steps: Steps that were made.
        sums: Name -> sum of what the network counted.
        given: Rows that batches had; fewer than ``rows`` where samples are no longer good.
        samples: Different samples among them.
        seconds: That it took.
        learning_rate: Of the last step.
        left_out: Steps among them that moved no weights, since they were not finite.
        stages: Stage -> seconds that it took, of all workers together.
        order: What the epoch's order follows from; see :class:`pipeline.training.feed.Feed`.
    """

    rows: int = 0
    steps: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)
    given: float = 0.0
    samples: float = 0.0
    seconds: float = 0.0
    learning_rate: float = 0.0
    left_out: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    order: Mapping[str, int] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`values` gave."""
        return cls(**values)


class TrainingState:
    """The weights, the optimizers, the averaged weights, and the log of the epochs that are done.

    Args:
        model: Trained in place.
        optimizers: Of the model's parameters, one a turn.
        average: Of the model's weights.
        scaler: Of the gradients; none where None.

    Attributes:
        history: One row of numbers an epoch.
        ranges: Which epochs were trained with which settings.
        best: Rank of the best epoch so far; see :meth:`pipeline.models.record.Score.rank`.
        position: Where the epoch that follows the history begins; within it where a checkpoint was made there.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        average: AveragedModel,
        scaler: GradScaler | None = None,
    ) -> None:
        self.scaler = scaler or GradScaler("cpu", enabled=False)
        self.model, self.optimizers, self.average = model, tuple(optimizers), average
        self.history: list[dict[str, float]] = []
        self.ranges: list[EpochRange] = []
        self.best = -math.inf
        self.position = Position()

    def add(self, row: dict[str, float], settings: Mapping[str, object]) -> None:
        """Takes note of an epoch that has ended."""
        self.history.append(row)
        self.ranges = extended(self.ranges, settings, len(self.history))

    def snapshot(self, **about: object) -> dict[str, object]:
        """A checkpoint, ready for :func:`dump`, that further steps do not change.

        Args:
            about: Kept beside it, plain values only.
        """
        return {
            "model": copied(self.model.state_dict()),
            "optimizers": [copied(optimizer.state_dict()) for optimizer in self.optimizers],
            "average": copied(self.average.state_dict()),
            "scaler": self.scaler.state_dict(),
            "history": list(self.history),
            "ranges": list(self.ranges),
            "best": self.best,
            "position": self.position.values(),
            **about,
        }

    def dump(self, **about: object) -> bytes:
        """A checkpoint; see :meth:`snapshot`."""
        return dump(self.snapshot(**about))

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
            if checkpoint.get("scaler") and self.scaler.is_enabled():
                self.scaler.load_state_dict(checkpoint["scaler"])
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
        self.position = Position.from_values(checkpoint.get("position", {}))


def _load_optimizer(optimizer: Optimizer, state: dict[str, object]) -> None:
    """Takes over an optimizer's moments, and keeps its settings, which may have been changed since."""
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, values in zip(optimizer.param_groups, settings, strict=True):
        group.update(values)


def copied(values: Any) -> Any:
    """The same, its tensors copied to the CPU, however deep they lie in dictionaries and lists."""
    if isinstance(values, torch.Tensor):
        return values.detach().to("cpu", copy=True)
    if isinstance(values, Mapping):
        return {name: copied(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [copied(value) for value in values]
    return values


def earlier_checkpoints(run: str) -> list[str]:
    """Names of the checkpoints before the last that stay in a run, the oldest first."""
    infos = storage.list_files(storage.join(run, CHECKPOINTS))
    names = (info.url.rpartition("/")[2] for info in infos)
    return sorted(name for name in names if name.startswith(EARLIER))


def last_checkpoint(run: str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The last checkpoint of a run that can be read; None where there is none.

    Raises:
        ConfigError: There are some, and none can be read.
    """
    names = [LAST, *reversed(earlier_checkpoints(run))]
    folder = storage.join(run, CHECKPOINTS)
    damaged = []
    for name in names:
        url = storage.join(folder, name)
        if not storage.exists(url):
            continue
        try:
            checkpoint = load_checkpoint(url, device)
        except UNREADABLE as error:
            damaged.append(f"{name} ({str(error).splitlines()[0] if str(error) else error!r})")
            continue
        if damaged:
            logger.warning("%s cannot be read; the training goes on from %s", damaged[0], name)
        return checkpoint
    if damaged:
        raise ConfigError(
            f"the last checkpoint cannot be read: {damaged[0]}",
            where=folder,
            fix="restore it, or set train.overwrite=true without train.resume to train anew",
        )
    return None


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
