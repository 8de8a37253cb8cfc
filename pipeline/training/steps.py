"""A step of a training: turns of losses, each of which moves its own weights, on one worker or many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pipeline.objectives.network import Batch, Objective, Turn
from pipeline.training.feed import num_rows
from pipeline.training.ranks import Ranks


class Steps:
    """Takes steps.

    Args:
        network: On ``device``.
        turns: The losses of a step.
        optimizers: Of each turn's weights.
        ranks: The workers, all of which take the same steps.
        device: Where batches are computed.
        max_gradient_norm: Of one turn's gradients; larger ones are scaled down to it.
        precision: Of matrix products.
    """

    def __init__(
        self,
        network: Objective,
        turns: Sequence[Turn],
        optimizers: Sequence[Optimizer],
        ranks: Ranks,
        device: torch.device,
        max_gradient_norm: float,
        precision: torch.dtype,
    ) -> None:
        self.network, self.turns, self.optimizers = network, tuple(turns), tuple(optimizers)
        self.ranks, self.device = ranks, device
        self.max_gradient_norm, self.precision = max_gradient_norm, precision
        self._is_due = False
        # The turn, of all that were taken, whose loss was the first that was not finite; infinite while all were.
        self._diverged = torch.full((), math.inf, device=device)
        self._turns_taken = 0

    @property
    def diverged(self) -> str | None:
        """Name of the turn whose loss was the first that was not finite; None while all were. Waits for the device."""
        first = float(self._diverged)
        return self.turns[int(first) % len(self.turns)].name if math.isfinite(first) else None

    def take(
        self, batch: Batch, seed: int, *, wants_checkpoint: bool = False
    ) -> tuple[dict[str, Tensor], bool]:
        """One step: each turn moves its own weights by the gradient of its loss over the global batch.

        Args:
            batch: This worker's share of it, empty where it has no row.
            seed: For what the network changes in the gradients by chance.
            wants_checkpoint: Whether this worker wants the state to be written behind the step.

        Returns:
            What the network counted in its share, and whether any worker wants that.
        """
        counted: dict[str, Tensor] = {}
        for turn, optimizer in zip(self.turns, self.optimizers, strict=True):
            self.network.zero_grad(set_to_none=True)
            rows = num_rows(batch)
            if rows:
                counted |= self._backward(batch, turn, rows)
            elif self.ranks.size > 1:
                self._backward_without_rows(turn)
            rows = self._shared(turn.parameters, rows, wants_checkpoint)
            if rows:
                self._modulate(counted, seed)
                nn.utils.clip_grad_norm_(turn.parameters, self.max_gradient_norm)
                optimizer.step()
        self._turns_taken += len(self.turns)
        return counted, self._is_due

    def _backward(self, batch: Batch, turn: Turn, rows: int) -> dict[str, Tensor]:
        """Leaves gradients of the mean loss where one worker has the whole batch, of the summed loss otherwise."""
        reduced = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=reduced):
            loss, counted = self.network.loss(batch, turn.name)
        taken = self._turns_taken + self.turns.index(turn)
        finite = torch.isfinite(loss.detach())
        self._diverged = torch.where(finite, self._diverged, self._diverged.clamp(max=taken))
        (loss if self.ranks.size == 1 else loss * rows).backward()  # type: ignore[no-untyped-call]
        return dict(counted)

    def _modulate(self, counted: Mapping[str, Tensor], seed: int) -> None:
        """Lets the network change the gradients, by the sums of the global batch."""
        if self.network.modulates:
            sums = self.ranks.merge({name: float(value) for name, value in counted.items()})
            self.network.modulate(sums, seed)

    def _backward_without_rows(self, turn: Turn) -> None:
        """Takes part where the others' losses need every worker."""
        loss = self.network.loss_without_rows(turn.name)
        if loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]

    def _shared(self, parameters: Sequence[nn.Parameter], rows: int, wants_checkpoint: bool) -> int:
        """Makes the gradients those of the mean loss over the global batch, whatever share of it each worker has.

        Whether any worker wants a checkpoint travels with them.

        Returns:
            Rows of the global batch.
        """
        if self.ranks.size == 1:
            self._is_due = wants_checkpoint
            return rows
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        counts = [float(rows), *(float(parameter.grad is not None) for parameter in trained)]
        counts.append(float(wants_checkpoint))
        count = torch.tensor(counts, dtype=torch.float32, device=self.device)
        self.ranks.add_up([*gradients, count])
        global_rows, *uses, due = count.tolist()
        self._is_due = bool(due)
        for parameter, gradient, used in zip(trained, gradients, uses, strict=True):
            # A weight that no worker's loss has used stays as it is, as it would with one worker.
            parameter.grad = gradient.div_(max(1.0, global_rows)) if used else None
        return int(global_rows)


def seed_chance(seed: int, device: torch.device) -> None:
    """As ``torch.manual_seed``, for the generators in use alone: for others it formats a stack, half a millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
