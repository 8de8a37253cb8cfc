"""A long training needs no more memory than a short one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from test_loop import Share, Small

from pipeline.modalities.chance import CHANCE
from pipeline.models.record import Score
from pipeline.training.callbacks.base import Callback
from pipeline.training.callbacks.checkpoint import Checkpoint, Rhythm
from pipeline.training.callbacks.tensorboard import TensorBoard
from pipeline.training.feed import Batch
from pipeline.training.loop import Training
from pipeline.training.recipe import Recipe

EPOCHS, SETTLED = 50, 10
BATCH_BYTES = 400_000


class Wide(Share):
    """Batches of 0.4 MB: one that is kept of every epoch is 16 MB in the end."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step in range(start // 20, 3):
            self.position = 20 * (step + 1)
            yield {
                "x": torch.randn(20, 3),
                "wide": torch.zeros(20, BATCH_BYTES // 80),
                CHANCE: torch.arange(20),
            }


class Watch(Callback):
    def __init__(self) -> None:
        self.megabytes: list[float] = []

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        self.megabytes.append(psutil.Process().memory_info().rss / 1e6)


def test_memory_is_flat_over_fifty_epochs(tmp_path: Path) -> None:
    watch, run = Watch(), str(tmp_path)
    checkpoint = Checkpoint(run, Score("error", "min"), {}, Rhythm(steps=2), 2)
    callbacks = [checkpoint, TensorBoard(run), watch]
    Training(Small(), Wide(), Recipe(EPOCHS, average_decay=0.9), callbacks=callbacks).run()
    assert len(watch.megabytes) == EPOCHS
    assert max(watch.megabytes[-5:]) - max(watch.megabytes[SETTLED - 5 : SETTLED]) < 8
