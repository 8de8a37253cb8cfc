"""The training loop: epochs of steps, a step of turns, on one worker or many, wherever batches come from."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.errors import ConfigError
from pipeline.models.batch import to_device
from pipeline.models.record import ROWS
from pipeline.models.seeds import step_seed
from pipeline.objectives.base import Learned
from pipeline.objectives.network import Batch, Objective, Turn
from pipeline.training.augmentation import Augment, augmented
from pipeline.training.callbacks.base import Callback
from pipeline.training.feed import Feed, num_rows
from pipeline.training.optimization import Schedule, build_average, build_optimizer, build_schedule
from pipeline.training.ranks import LocalRanks, Ranks
from pipeline.training.state import Position, TrainingState
from pipeline.training.steps import Steps, seed_chance

DIVERGED = "diverged_"  # before a turn's name, among the numbers of an epoch


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: Passes over the samples, in all.
        learning_rate: Highest, of the configured optimizer.
        weight_decay: Of the configured optimizer.
        warmup_fraction: Share of all steps with a rising learning rate.
        schedule: Of the learning rate behind those steps.
        max_gradient_norm: Of one turn's gradients; larger ones are scaled down to it.
        average_decay: Of the weights' moving average.
        precision: Of matrix products.
        seed: Of the network's own chance.
        settings: What is noted of each epoch, ready for JSON.
    """

    epochs: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_fraction: float = 0.0
    schedule: Schedule = "cosine"
    max_gradient_norm: float = 1.0
    average_decay: float = 0.0
    precision: torch.dtype = torch.float32
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


class Training:
    """A network in training.

    Args:
        network: On ``device``.
        feed: Where batches come from.
        recipe: How it is trained.
        ranks: The workers, all of which run this with the same network.
        device: Where batches are computed.
        augment: Modality -> what changes its values by chance.
        callbacks: What happens beside the training, in this order.

    Attributes:
        state: Weights, optimizers and log.
        settled: What the network has settled on the validation split after the last epoch.
        stop: Why no further epoch is trained; empty while there is no reason. A callback sets it on any worker.
        wants_checkpoint: Whether the state is to be written behind the next step; a callback sets it on any worker.
    """

    def __init__(
        self,
        network: Objective,
        feed: Feed,
        recipe: Recipe,
        *,
        ranks: Ranks | None = None,
        device: torch.device | str = "cpu",
        augment: Mapping[str, Augment] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.network, self.turns = network, tuple(network.turns)
        self.feed, self.recipe = feed, recipe
        self.ranks: Ranks = ranks or LocalRanks()
        self.device = torch.device(device)
        self.augment = dict(augment or {})
        self.callbacks = callbacks
        self.average = build_average(network, recipe.average_decay)
        optimizers = [self._optimizer(turn) for turn in self.turns]
        self.state = TrainingState(network, optimizers, self.average)
        self.stop = ""
        self.wants_checkpoint = False
        self.settled: Learned = {}
        self._steps = Steps(
            network,
            self.turns,
            optimizers,
            self.ranks,
            self.device,
            recipe.max_gradient_norm,
            recipe.precision,
        )

    def run(self) -> None:
        """Trains the epochs that are not done yet."""
        try:
            for callback in self.callbacks:
                callback.begin(self)
            while len(self.state.history) < self.recipe.epochs and not self._any_stops():
                self._epoch(len(self.state.history))
            for callback in self.callbacks:
                callback.end(self)
        finally:
            for callback in self.callbacks:
                callback.close()

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The network's metrics; none where there were no samples."""
        return self.network.metrics(sums) | self.network.monitored(sums) if sums else {}

    def _optimizer(self, turn: Turn) -> Optimizer:
        if turn.optimizer is not None:
            return turn.optimizer
        recipe = self.recipe
        return build_optimizer(
            self.network, recipe.learning_rate, recipe.weight_decay, turn.parameters, turn.betas
        )

    def _any_stops(self) -> bool:
        """Whether a worker has a reason to stop; they all ask at the same moments."""
        return self.ranks.merge({"stop": float(bool(self.stop))})["stop"] > 0

    def _epoch(self, epoch: int) -> None:
        """One pass over this worker's share."""
        began = time.monotonic()
        self.network.train()
        self._weigh()
        num_steps = self.feed.num_batches(0)
        start = self._start(epoch)
        schedules = self._schedules(epoch, num_steps, start.steps)
        # What was counted before is of all workers; the first one has it.
        sums = self._sums(start) if self.ranks.rank == 0 else {}
        rate, rows = start.learning_rate, 0
        for step, share in enumerate(self.feed.batches(epoch, start.rows), start.steps):
            # What a network draws itself is that of the step, so that a step is the same wherever training began.
            seed_chance(step_seed(self.recipe.seed, epoch, step, self.ranks.rank), self.device)
            rate = float(schedules[0].get_last_lr()[0])
            batch = self._augmented(share)
            rows += num_rows(batch)
            seed = step_seed(self.recipe.seed, epoch, step, 0)
            counted, is_due = self._steps.take(batch, seed, wants_checkpoint=self.wants_checkpoint)
            self.average.update_parameters(self.network)
            for name, value in counted.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
            if (
                step + 1 < num_steps
            ):  # an epoch with more steps than the first ends with its last rate
                for schedule in schedules:
                    schedule.step()
            if is_due:
                seconds = time.monotonic() - began
                self._interrupt(start, step + 1, rate, self._with(start, rows, sums), seconds)
            for callback in self.callbacks:
                callback.step_ended(self, epoch + (step + 1) / max(num_steps, step + 1))
        self.state.position = Position()
        seconds = start.seconds + time.monotonic() - began
        self._note(epoch, rate, self._with(start, rows, sums), seconds)

    def _start(self, epoch: int) -> Position:
        """Where the epoch goes on.

        Raises:
            ConfigError: It began in another order.
        """
        start, order = self.state.position, self.feed.order
        changed = [name for name in order if start.order.get(name, order[name]) != order[name]]
        if start.rows and changed:
            setting = {"buffer_rows": "shuffle_rows"}.get(changed[0], changed[0])
            raise ConfigError(
                f"the last checkpoint lies within epoch {epoch + 1}, whose order is another with this setting",
                where=f"train.{setting}",
                fix="restore it until the epoch has ended, or set train.overwrite=true without train.resume to train "
                "anew",
            )
        return start

    def _sums(self, start: Position) -> dict[str, Tensor]:
        return {
            name: torch.tensor(value, dtype=torch.float64, device=self.device)
            for name, value in start.sums.items()
        }

    def _with(self, start: Position, rows: int, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """What this worker has counted in the epoch, ready to be added up; the first one with what was before."""
        before = start if self.ranks.rank == 0 else Position()
        numbers = {f"sum_{name}": float(value) for name, value in sums.items()}
        numbers["rows"] = before.given + rows
        numbers["samples"] = before.samples + self.feed.samples
        return numbers

    def _interrupt(
        self,
        start: Position,
        steps: int,
        rate: float,
        counted: Mapping[str, float],
        seconds: float,
    ) -> None:
        """Has the callbacks write the state within an epoch, unless the training has diverged."""
        self.wants_checkpoint = False
        diverged = float(self._steps.diverged is not None)
        totals = self.ranks.merge({**counted, "diverged": diverged})
        if totals["diverged"] or not all(map(math.isfinite, totals.values())):
            return  # the epoch's end says so; the last good checkpoint stays
        self.state.position = Position(
            rows=self.feed.position,
            steps=steps,
            sums={name[4:]: value for name, value in totals.items() if name[:4] == "sum_"},
            given=totals["rows"],
            samples=totals["samples"],
            seconds=start.seconds + seconds,
            learning_rate=rate,
            order=dict(self.feed.order),
        )
        for callback in self.callbacks:
            callback.checkpoint(self)

    def _schedules(self, epoch: int, num_steps: int, done: int) -> list[LambdaLR]:
        total = max(1, num_steps * self.recipe.epochs)
        warmup = int(total * self.recipe.warmup_fraction)
        return [
            build_schedule(optimizer, total, warmup, epoch * num_steps + done, self.recipe.schedule)
            for optimizer in self.state.optimizers
        ]

    def _augmented(self, share: Batch) -> dict[str, Tensor]:
        batch = to_device(share, self.device)
        return augmented(batch, self.augment) if batch and self.augment else batch

    def _weigh(self) -> None:
        """Lets the course of the training weigh the loss; the first worker alone has validated."""
        history = self.state.history
        weights = self.network.loss_weights(history) if self.ranks.rank == 0 else {}
        self.network.weigh(self.ranks.merge(weights))

    def _note(self, epoch: int, rate: float, counted: Mapping[str, float], seconds: float) -> None:
        """Writes the row of an epoch, and lets the callbacks add to it.

        Args:
            epoch: Counted from 0.
            rate: The last learning rate.
            counted: By this worker; see :meth:`_with`.
            seconds: That it took.
        """
        numbers = dict(counted)
        if (player := self._steps.diverged) is not None:
            numbers[f"{DIVERGED}{player}"] = 1.0
        totals = self.ranks.merge(numbers)
        added = {name.removeprefix("sum_"): totals[name] for name in totals if name[:4] == "sum_"}
        players = [name.removeprefix(DIVERGED) for name in totals if name.startswith(DIVERGED)]
        self._check_finite(epoch, added, players)
        row: dict[str, float] = {"epoch": epoch + 1, "learning_rate": rate}
        row |= {f"train_{name}": value for name, value in self.metrics(added).items()}
        row |= {f"{ROWS}train": round(totals["samples"]), "seconds": round(seconds, 3)}
        row["samples_per_second"] = round(totals["rows"] / seconds, 1)
        self.state.add(row, self.recipe.settings)
        for callback in self.callbacks:
            callback.epoch_ended(self, row)

    def _check_finite(self, epoch: int, sums: Mapping[str, float], players: Sequence[str]) -> None:
        """Ends a training that cannot recover; every worker sees the same sums.

        Args:
            epoch: Counted from 0.
            sums: Over the epoch.
            players: The turn whose loss was the first that was not finite, on each worker that had one.

        Raises:
            ConfigError: A sum over the epoch is not finite, or a loss was not.
        """
        if players or not all(map(math.isfinite, sums.values())):
            several = len(self.turns) > 1 and players
            first = f", that of the {' and the '.join(players)} first" if several else ""
            raise ConfigError(
                f"the loss of epoch {epoch + 1} is not finite{first}: the training has diverged",
                where=f"train.learning_rate={self.recipe.learning_rate:g}",
                fix="set it lower, train.max_gradient_norm lower, or train.precision=float32",
            )
