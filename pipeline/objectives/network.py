"""What training, batch inference and evaluation know of an objective's network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.objectives.base import Learned

Batch = Mapping[str, Tensor]
"""Column name -> tensor with B rows. ``NAME`` holds a modality's values, ``NAME_present`` bool (B,) says which
samples have it; what :meth:`Objective.targets` makes is there for training and validation only."""


@dataclass(frozen=True)
class Turn:
    """One of the losses of a step, and the weights that follow it.

    Attributes:
        name: Given to :meth:`Objective.loss`.
        parameters: The weights that this loss moves.
        optimizer: Of these weights; None for the configured one.
        betas: Of the configured one: how much of the gradients, and of their squares, it keeps from step to step.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    optimizer: torch.optim.Optimizer | None = None
    betas: tuple[float, float] = (0.9, 0.98)


class Objective(nn.Module, ABC):
    """The network of an objective.

    Attributes:
        divisible: Whether the loss of a batch is the mean of its samples' losses, so that pieces of it may be computed
            one by one.
    """

    divisible = True

    @property
    def turns(self) -> Sequence[Turn]:
        """The losses of one step, in order, each with the weights that it moves; one where all share a loss."""
        return (Turn("model", tuple(self.parameters())),)

    @abstractmethod
    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The batch's columns that hold what is to be learned.

        Args:
            texts: Canonical texts of B targets; see :class:`pipeline.modalities.decoding.targets.Target`. None, each of
                them, for an objective without targets.
        """

    def fit(self, statistics: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes over what is known of the training set's values before the first step; nothing by default.

        Args:
            statistics: Modality -> what its encoder was fitted with; see :class:`pipeline.modalities.facets.Fitted`.
        """

    def identified(self, batch: Batch) -> dict[str, Tensor]:
        """Further columns, from samples as they are before chance changes them; none by default.

        Args:
            batch: Samples on the CPU.
        """
        return {}

    @abstractmethod
    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch.

        What a network draws for a sample is drawn from the sample's own chance, in the batch's column ``chance``; see
        :class:`pipeline.modalities.chance.Chance`.

        Args:
            batch: Samples with their targets.
            turn: Name of one of ``turns``.

        Returns:
            The mean over the samples, a scalar to differentiate: workers share a batch, and their losses are weighed by
            their samples; and sums over the batch, float64 scalars without gradients, to be added up over batches and
            workers and given to ``metrics``.
        """

    def loss_without_rows(self, turn: str = "model") -> Tensor | None:
        """The part in the loss of a worker that has no row of a batch, to differentiate as the others do theirs.

        Returns:
            None, where workers need not know of each other's samples.
        """
        return None

    def forward(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The same as :meth:`loss`, under the name that wrappers call."""
        return self.loss(batch, turn)

    @abstractmethod
    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """What the model makes of samples; targets are not looked at.

        Args:
            batch: Samples; of an objective that draws, with the column ``chance``, as of :meth:`loss`.
            seed: Changes what is drawn from the same chance.

        Returns:
            Name -> float32 tensor with B rows, on the batch's device.
        """

    def originals(self, batch: Batch) -> dict[str, Tensor]:
        """What a network that makes values is to make, as :meth:`predict` writes it; nothing by default."""
        return {}

    def between(self, batch: Batch, steps: int) -> dict[str, Tensor]:
        """What lies on the way between two samples, as :meth:`predict` writes it; nothing by default.

        Args:
            batch: Two samples.
            steps: Rows of the result, the first of which is of the first sample, and the last of the second.
        """
        return {}

    @abstractmethod
    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Metrics of the samples behind ``sums``, the added sums of ``loss``."""

    @property
    def modulates(self) -> bool:
        """Whether gradients are given to :meth:`modulate` before they move the weights."""
        return False

    def modulate(self, sums: Mapping[str, float], seed: int) -> None:
        """Changes the gradients of a step, the same on every worker.

        Args:
            sums: Of :meth:`loss`, over the global batch.
            seed: Of the step, for chance.
        """

    def monitored(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Numbers beside :meth:`metrics` that :meth:`loss_weights` must know of an epoch; nothing by default."""
        return {}

    def loss_weights(self, history: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """What the course of the training so far says of the parts of the loss: name -> weight; nothing by default.

        Args:
            history: One row an epoch, with ``train_`` and ``val_`` before the names of the metrics.
        """
        return {}

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Takes the weights of :meth:`loss_weights` for the epoch that begins; empty ones change nothing."""

    def validated(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The sums of :meth:`loss` over a validation batch, and what is :meth:`observed` of it.

        A network that makes both of one pass over its samples should do so.
        """
        return self.loss(batch, self.turns[0].name)[1], self.observed(batch)

    def observed(self, batch: Batch) -> dict[str, Tensor]:
        """What :meth:`settled` must know of a validation batch: name -> (B, ...); nothing by default.

        Called in evaluation mode, with the weights that the bundle would get.
        """
        return {}

    def judged(self, observed: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """Metrics of a validation split that no sums over its batches give, beside those of :meth:`metrics`.

        Args:
            observed: What :meth:`observed` returned, of all batches together.
        """
        return {}

    def settled(self, observed: Mapping[str, NDArray[np.float32]]) -> Learned:
        """What is learned of the validation split with the weights of an epoch, beside what was learned of targets.

        Args:
            observed: What :meth:`observed` returned, of all batches together.

        Returns:
            Plain JSON, kept with the weights in the bundle.
        """
        return {}
