"""The training loop: epochs of steps, a step of turns, on one worker or many, wherever batches come from."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence

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
from pipeline.training.optimization.average import build_average
from pipeline.training.optimization.optimizers import build_optimizer
from pipeline.training.optimization.schedule import build_schedule
from pipeline.training.ranks import LocalRanks, Ranks
from pipeline.training.recipe import Recipe
from pipeline.training.stages import STAGES, StageClock, stage_columns
from pipeline.training.state import Position, TrainingState
from pipeline.training.steps import Steps, seed_chance
from pipeline.training.tally import RecentKeys, Tally, sums_of

logger = logging.getLogger(__name__)

LOOK_EVERY = 32  # steps between two looks at what lies on a GPU, each of which waits for it


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
        look_every: Steps between two looks at whether the training has diverged.
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
        self.stop = ""
        self.wants_checkpoint = False
        self.look_every = 1 if self.device.type == "cpu" else LOOK_EVERY
        self.settled: Learned = {}
        self._clock = StageClock()
        self._steps = Steps(
            network, self.turns, optimizers, self.ranks, self.device, recipe, self._clock
        )
        self.state = TrainingState(network, optimizers, self.average, self._steps.scaler)

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
            self.network,
            recipe.learning_rate,
            recipe.weight_decay,
            turn.parameters,
            turn.betas,
            recipe.optimizer,
        )

    def _any_stops(self) -> bool:
        """Whether a worker has a reason to stop; they all ask at the same moments."""
        return self.ranks.merge({"stop": float(bool(self.stop))})["stop"] > 0

    def _epoch(self, epoch: int) -> None:
        """One pass over this worker's share, or its first part where a worker stops within it."""
        began = time.monotonic()
        self.network.train()
        self._weigh()
        num_steps = self.feed.num_batches(0)
        start = self._start(epoch)
        schedules = self._schedules(epoch, num_steps, start.steps)
        tally = Tally(start, is_first=self.ranks.rank == 0, device=self.device)
        recent, clock = RecentKeys(LOOK_EVERY), self._clock
        clock.start()
        for step, share in enumerate(self.feed.batches(epoch, start.rows), start.steps):
            clock.lap("waiting")
            # What a network draws itself is that of the step, so that a step is the same wherever training began.
            seed_chance(step_seed(self.recipe.seed, epoch, step, self.ranks.rank), self.device)
            rate = float(schedules[0].get_last_lr()[0])
            batch = self._augmented(share)
            clock.lap("copying")
            seed = step_seed(self.recipe.seed, epoch, step, 0)
            taken = self._steps.take(batch, seed, wants_checkpoint=self.wants_checkpoint)
            self.average.update_parameters(self.network)
            tally.add(taken, num_rows(batch), rate)
            recent.add(step, self.feed.keys)
            if taken.left_out:
                logger.warning("a step was left out: %s", self._place(epoch, step, recent))
            elif not (step + 1) % self.look_every:
                self._check_course(epoch, step, recent)
            if (
                step + 1 < num_steps
            ):  # an epoch with more steps than the first ends with its last rate
                for schedule in schedules:
                    schedule.step()
            clock.lap("computing")
            if taken.is_due and self._interrupt(start, tally, time.monotonic() - began):
                return
            for callback in self.callbacks:
                callback.step_ended(self, epoch + (step + 1) / max(num_steps, step + 1))
            clock.lap("saving")
        self._check_course(epoch, tally.steps - 1, recent)
        self.state.position = Position()
        self._note(epoch, start, tally, start.seconds + time.monotonic() - began)

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

    def _numbers(self, start: Position, tally: Tally) -> dict[str, float]:
        """What this worker has counted in the epoch, ready to be added up; the first one with what was before."""
        numbers = tally.numbers(self.feed.samples)
        for stage in STAGES:
            seconds = self._clock.seconds[stage]
            numbers[f"{self.ranks.rank} {stage}"] = seconds
            before = start.stages.get(stage, 0.0) if self.ranks.rank == 0 else 0.0
            numbers[f"all {stage}"] = before + seconds
        return numbers

    def _interrupt(self, start: Position, tally: Tally, seconds: float) -> bool:
        """Has the callbacks write the state within an epoch, unless the training has diverged.

        Returns:
            Whether a worker stops here.
        """
        self.wants_checkpoint = False
        stops = {"stop": float(bool(self.stop))}
        diverged = {"diverged": float(self._steps.diverged is not None)}
        totals = self.ranks.merge({**self._numbers(start, tally), **stops, **diverged})
        if totals["diverged"] or not all(map(math.isfinite, totals.values())):
            return False  # the epoch's end says so; the last good checkpoint stays
        self.state.position = Position(
            rows=self.feed.position,
            steps=tally.steps,
            sums=sums_of(totals),
            given=totals["rows"],
            samples=totals["samples"],
            seconds=start.seconds + seconds,
            learning_rate=tally.learning_rate,
            left_out=tally.left_out,
            stages={stage: totals[f"all {stage}"] for stage in STAGES},
            order=dict(self.feed.order),
        )
        for callback in self.callbacks:
            callback.checkpoint(self)
        return totals["stop"] > 0

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

    def _note(self, epoch: int, start: Position, tally: Tally, seconds: float) -> None:
        """Writes the row of an epoch, and lets the callbacks add to it.

        Args:
            epoch: Counted from 0.
            start: Where it began.
            tally: What this worker has counted.
            seconds: That it took.

        Raises:
            ConfigError: A sum over the epoch is not finite, or no step of it moved a weight.
        """
        totals = self.ranks.merge(self._numbers(start, tally))
        counted = sums_of(totals)
        if tally.left_out == tally.steps or not all(map(math.isfinite, counted.values())):
            raise self._diverged(epoch)
        row: dict[str, float] = {"epoch": epoch + 1, "learning_rate": tally.learning_rate}
        row |= {f"train_{name}": value for name, value in self.metrics(counted).items()}
        row |= {f"{ROWS}train": round(totals["samples"]), "seconds": round(seconds, 3)}
        row["samples_per_second"] = round(totals["rows"] / seconds, 1)
        if self.recipe.on_nan == "skip":
            row["steps_left_out"] = tally.left_out
        means = {stage: totals[f"all {stage}"] / self.ranks.size for stage in STAGES}
        ranks = range(self.ranks.size)
        row |= stage_columns(
            means, [{stage: totals[f"{rank} {stage}"] for stage in STAGES} for rank in ranks]
        )
        self.state.add(row, self.recipe.settings)
        for callback in self.callbacks:
            callback.epoch_ended(self, row)

    def _check_course(self, epoch: int, step: int, recent: RecentKeys) -> None:
        """Ends a training that cannot recover; every worker knows of it in the same step.

        Args:
            epoch: Counted from 0.
            step: The last one of the epoch that was taken.
            recent: Samples of its steps.

        Raises:
            ConfigError: A loss or a gradient was not finite.
        """
        if (found := self._steps.diverged) is not None:
            back = self._steps.num_taken - 1 - found.step
            turn = found.turn if len(self.turns) > 1 else ""
            raise self._diverged(epoch, turn, self._place(epoch, step - back, recent))

    def _place(self, epoch: int, step: int, recent: RecentKeys) -> str:
        """A step and its samples in words."""
        return f"epoch {epoch + 1}, batch {step + 1} {recent.where(step)}".rstrip()

    def _diverged(self, epoch: int, turn: str = "", where: str = "") -> ConfigError:
        first = f", that of the {turn} first" if turn else ""
        rate = f"train.learning_rate={self.recipe.learning_rate:g}"
        return ConfigError(
            f"the loss of epoch {epoch + 1} is not finite{first}: the training has diverged",
            where=f"{rate} {where}".rstrip(),
            fix="set it lower, train.max_gradient_norm lower, or train.precision=float32; train.on_nan=skip leaves out "
            "batches whose loss or gradients are not finite",
        )
