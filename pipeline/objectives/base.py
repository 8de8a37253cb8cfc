"""What the training loop, batch inference and evaluation know of an objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import pyarrow as pa
from torch import Tensor

Batch = Mapping[str, Tensor]
"""Column name -> tensor with B rows. ``NAME`` holds a modality's values, ``NAME_present`` bool (B,)
says which samples have it; ``label`` int64 (B,) is there for training and evaluation only."""


class Objective(Protocol):
    """What a model is for; implementations are ``torch.nn.Module``."""

    @property
    def turns(self) -> Sequence[str]:
        """The losses of one step, in order; ``("model",)`` where all weights share one loss."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the batch's columns that a loss needs."""

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch.

        ``forward`` is the same function, so that a wrapper such as DistributedDataParallel sees it.

        Args:
            batch: Samples with labels.
            turn: One of ``turns``.

        Returns:
            The mean loss, a scalar to differentiate, and sums over the batch, float64 scalars
            without gradients, to be added up over batches and workers and given to ``metrics``.
        """

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """What the model makes of samples; labels are not looked at.

        Returns:
            Column name -> float32 tensor with B rows, on the batch's device.
        """

    def schema(self) -> list[pa.Field]:
        """The columns that predictions add to the output, in order."""

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Metrics of the samples behind ``sums``, the added sums of ``loss``."""
