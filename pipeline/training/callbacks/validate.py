"""Validation with the averaged weights, after every epoch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from pipeline.models.batch import to_device
from pipeline.models.record import ROWS
from pipeline.objectives.network import Objective
from pipeline.training.callbacks.base import Callback
from pipeline.training.feed import Feed

if TYPE_CHECKING:
    from pipeline.training.loop import Training


class Validate(Callback):
    """Adds the metrics of a split to an epoch's row, named ``val_``; for one worker, who sees the whole split.

    Args:
        feed: The split.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    @torch.inference_mode()
    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """Goes through the split."""
        began = time.monotonic()
        network = cast(Objective, training.average.module).eval()
        sums: dict[str, Tensor] = {}
        observed: dict[str, list[Tensor]] = {}
        for host_batch in self.feed.batches(0):
            batch = to_device(host_batch, training.device)
            counted, seen = network.validated(batch)
            for name, value in counted.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            for name, value in seen.items():
                observed.setdefault(name, []).append(value.cpu())
        arrays = {name: torch.cat(values).numpy() for name, values in observed.items()}
        training.settled = network.settled(arrays) if arrays else {}
        metrics = training.metrics({name: float(value) for name, value in sums.items()})
        metrics |= network.judged(arrays) if arrays else {}
        row |= {f"val_{name}": value for name, value in metrics.items()}
        row[f"{ROWS}val"] = self.feed.samples
        row["validation_seconds"] = round(time.monotonic() - began, 3)
