"""A step of a training: turns of losses, each of which moves its own weights, on one worker or many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from pipeline.errors import ConfigError
from pipeline.objectives.network import Batch, Objective, Turn
from pipeline.training.feed import num_rows
from pipeline.training.ranks import Ranks
from pipeline.training.recipe import Recipe
from pipeline.training.stages import StageClock


class Taken(NamedTuple):
    """A step that was taken.

    Attributes:
        counted: What the network counted in this worker's share.
        is_due: Whether any worker wants the state to be written behind it.
        left_out: Whether a turn moved no weights, since its loss or gradients were not finite; the same on all workers.
    """

    counted: dict[str, Tensor]
    is_due: bool
    left_out: bool = False


class Diverged(NamedTuple):
    """The first turn of a training whose loss or gradients were not finite.

    Attributes:
        step: Counted from the first that these :class:`Steps` took.
        turn: Its name.
    """

    step: int
    turn: str


class _Shared(NamedTuple):
    """What the workers know together of a turn.

    Attributes:
        rows: Of the global batch.
        finite: bool, scalar: whether the losses of all were.
    """

    rows: int
    finite: Tensor


class Steps:
    """Takes steps.

    Args:
        network: On ``device``.
        turns: The losses of a step.
        optimizers: Of each turn's weights.
        ranks: The workers, all of which take the same steps.
        device: Where batches are computed.
        recipe: How the network is trained.
        clock: Told of the time that adding up takes; its last lap was before :meth:`take`.

    Raises:
        ConfigError: A batch is to be computed in pieces, and the network's loss cannot be.

    Attributes:
        scaler: Of the gradients, where the precision is float16; does nothing elsewhere.
    """

    def __init__(
        self,
        network: Objective,
        turns: Sequence[Turn],
        optimizers: Sequence[Optimizer],
        ranks: Ranks,
        device: torch.device,
        recipe: Recipe,
        clock: StageClock | None = None,
    ) -> None:
        self.network, self.turns, self.optimizers = network, tuple(turns), tuple(optimizers)
        self.ranks, self.device, self.recipe = ranks, device, recipe
        self.scaler = GradScaler(device.type, enabled=recipe.precision == torch.float16)
        if recipe.rows_at_once is not None and not network.divisible:
            raise ConfigError(
                "the loss of this objective is that of a whole batch, and cannot be computed in pieces",
                where="train.rows_at_once",
                fix="leave it out, and set train.batch_size lower where memory is short",
            )
        self._clock = clock or StageClock()
        self._is_due = False
        # The turn, of all that were taken, that was the first to be not finite; infinite while all were.
        self._diverged = torch.full((), math.inf, device=device)
        self._turns_taken = 0

    @property
    def diverged(self) -> Diverged | None:
        """The first turn that was not finite; None while all were. Waits for the device."""
        first = float(self._diverged)
        if not math.isfinite(first):
            return None
        step, turn = divmod(int(first), len(self.turns))
        return Diverged(step, self.turns[turn].name)

    @property
    def num_taken(self) -> int:
        """Steps that were taken."""
        return self._turns_taken // len(self.turns)

    def take(self, batch: Batch, seed: int, *, wants_checkpoint: bool = False) -> Taken:
        """One step: each turn moves its own weights by the gradient of its loss over the global batch.

        Args:
            batch: This worker's share of it, empty where it has no row.
            seed: For what the network changes in the gradients by chance.
            wants_checkpoint: Whether this worker wants the state to be written behind the step.
        """
        counted: dict[str, Tensor] = {}
        left_out = False
        buffers = self._buffers()
        for turn, optimizer in zip(self.turns, self.optimizers, strict=True):
            self.network.zero_grad(set_to_none=True)
            rows = num_rows(batch)
            finite = torch.ones((), dtype=torch.bool, device=self.device)
            if rows:
                found, finite = self._backward(batch, turn, rows)
                counted |= found
            elif self.ranks.size > 1:
                self._backward_without_rows(turn)
            shared = self._shared(turn.parameters, rows, finite, wants_checkpoint)
            if shared.rows:
                self._modulate(counted, seed)
                left_out |= not self._move(turn, optimizer, shared.finite)
            self._turns_taken += 1
        if left_out:
            for buffer, before in buffers:
                buffer.copy_(before)
        return Taken(counted, self._is_due, left_out)

    def _buffers(self) -> list[tuple[Tensor, Tensor]]:
        """What a step that is left out must not have changed beside the weights, as running means."""
        if self.recipe.on_nan == "stop":
            return []
        return [(buffer, buffer.clone()) for buffer in self.network.buffers()]

    def _move(self, turn: Turn, optimizer: Optimizer, finite: Tensor) -> bool:
        """Moves a turn's weights by their gradients; says whether it did, as all workers do alike."""
        self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(turn.parameters, self.recipe.max_gradient_norm)
        # Scaled gradients may leave the range of float16: the scaler leaves out that step, and scales the next less.
        good = finite if self.scaler.is_enabled() else finite & torch.isfinite(norm)
        if self.recipe.on_nan == "skip":
            if not bool(good):
                self.scaler.update()
                return False
        else:
            first = self._diverged.clamp(max=self._turns_taken)
            self._diverged = torch.where(good, self._diverged, first)
        self.scaler.step(optimizer)
        self.scaler.update()
        return True

    def _backward(self, batch: Batch, turn: Turn, rows: int) -> tuple[dict[str, Tensor], Tensor]:
        """Leaves gradients of the mean loss where one worker has the whole batch, of the summed loss otherwise.

        Returns:
            What the network counted, and whether the loss is finite: bool, scalar.
        """
        counted: dict[str, Tensor] = {}
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        precision = self.recipe.precision
        for piece in pieces(batch, rows, self.recipe.rows_at_once or rows):
            with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
                loss, found = self.network.loss(piece, turn.name)
            weight = num_rows(piece) / (rows if self.ranks.size == 1 else 1)
            self.scaler.scale(loss * weight).backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                counted[name] = counted[name] + value if name in counted else value
            finite = finite & torch.isfinite(loss.detach())
        return counted, finite

    def _modulate(self, counted: Mapping[str, Tensor], seed: int) -> None:
        """Lets the network change the gradients, by the sums of the global batch."""
        if self.network.modulates:
            sums = self.ranks.merge({name: float(value) for name, value in counted.items()})
            self.network.modulate(sums, seed)

    def _backward_without_rows(self, turn: Turn) -> None:
        """Takes part where the others' losses need every worker."""
        loss = self.network.loss_without_rows(turn.name)
        if loss is not None:
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _shared(
        self,
        parameters: Sequence[nn.Parameter],
        rows: int,
        finite: Tensor,
        wants_checkpoint: bool,
    ) -> _Shared:
        """Makes the gradients those of the mean loss over the global batch, whatever share of it each worker has.

        Whether any worker wants a checkpoint, or has a loss that is not finite, travels with them.
        """
        if self.ranks.size == 1:
            self._is_due = wants_checkpoint
            return _Shared(rows, finite)
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        counts = [float(rows), *(float(parameter.grad is not None) for parameter in trained)]
        counts.append(float(wants_checkpoint))
        told = torch.tensor(counts, dtype=torch.float32, device=self.device)
        count = torch.cat([told, (~finite).float().reshape(1)])
        with self._clock.within("communicating", around="computing"):
            self.ranks.add_up([*gradients, count])
        global_rows, *uses, due, bad = count.tolist()
        self._is_due = bool(due)
        for parameter, gradient, used in zip(trained, gradients, uses, strict=True):
            # A weight that no worker's loss has used stays as it is, as it would with one worker.
            parameter.grad = gradient.div_(max(1.0, global_rows)) if used else None
        return _Shared(int(global_rows), torch.tensor(not bad, device=self.device))


def pieces(batch: Batch, rows: int, at_once: int) -> Iterator[Batch]:
    """A batch in pieces of so many rows, the last of which may have fewer.

    Args:
        batch: Columns of ``rows`` rows.
        rows: See above.
        at_once: Rows of a piece.
    """
    if at_once >= rows:
        yield batch
        return
    for first in range(0, rows, at_once):
        yield {name: values[first : first + at_once] for name, values in batch.items()}


def seed_chance(seed: int, device: torch.device) -> None:
    """As ``torch.manual_seed``, for the generators in use alone: for others it formats a stack, half a millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
