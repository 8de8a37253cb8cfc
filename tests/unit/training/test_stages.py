"""Where a training's time goes: seconds told to stages without a gap, and a sentence that names the longest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_loop import SPLITS, Share, Small, ThreadRanks
from torch import Tensor

from pipeline.training.callbacks.base import Callback
from pipeline.training.feed import Batch
from pipeline.training.loop import Training
from pipeline.training.recipe import Recipe
from pipeline.training.stages import STAGES, StageClock, bottleneck, stage_columns

PAUSE = 0.05  # seconds, of which the machine may make more


class SlowShare(Share):
    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for batch in super().batches(epoch, start):
            time.sleep(PAUSE)
            yield batch


class SlowRanks(ThreadRanks):
    def add_up(self, tensors: Sequence[Tensor]) -> None:
        time.sleep(PAUSE)
        super().add_up(tensors)


class SlowNetwork(Small):
    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        time.sleep(PAUSE)
        return super().loss(batch, turn)


class SlowCallback(Callback):
    def step_ended(self, training: Training, epochs: float) -> None:
        time.sleep(PAUSE)


def slow_change(values: Tensor, chance: object) -> Tensor:
    time.sleep(PAUSE)
    return values


@pytest.mark.parametrize("stage", STAGES)
def test_seconds_are_told_to_the_stage_that_took_them(stage: str) -> None:
    feed = SlowShare if stage == "waiting" else Share
    network = SlowNetwork if stage == "computing" else Small
    ranks = SlowRanks if stage == "communicating" else ThreadRanks
    callbacks = [SlowCallback()] if stage == "saving" else []
    augment = {"x": slow_change} if stage == "copying" else {}
    together, barrier = [[] for _ in range(2)], threading.Barrier(2)

    def train(rank: int) -> dict[str, float]:
        training = Training(
            network(),
            feed(*SPLITS[2][rank]),
            Recipe(1),
            ranks=ranks(rank, together, barrier),
            augment=augment,
            callbacks=callbacks,
        )
        torch.set_num_threads(1)
        training.run()
        return training.state.history[0]

    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(train, range(2)))
    for row in rows:
        assert row[f"{stage}_seconds"] >= 3 * PAUSE
        assert row[f"most_{stage}_seconds"] >= row[f"{stage}_seconds"] - 1e-3
        told = sum(row[f"{name}_seconds"] for name in STAGES)
        assert told <= row["seconds"] + 0.01
    assert rows[0]["waiting_seconds"] == rows[1]["waiting_seconds"], "the mean of both"


def test_no_second_is_told_twice_or_lost() -> None:
    times = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    clock = StageClock(lambda: next(times))
    clock.lap("waiting")
    clock.lap("copying")
    with clock.within("communicating", around="computing"):
        pass
    clock.lap("computing")
    assert clock.seconds == {
        "waiting": 1.0,
        "copying": 2.0,
        "computing": 3.0 + 5.0,
        "communicating": 4.0,
    }


def test_the_slowest_worker_is_told() -> None:
    columns = stage_columns({"waiting": 2.0}, [{"waiting": 1.0}, {"waiting": 3.0}])
    assert columns["waiting_seconds"] == 2.0
    assert columns["most_waiting_seconds"] == 3.0
    assert "most_waiting_seconds" not in stage_columns({"waiting": 2.0}, [{"waiting": 2.0}])


def row(**seconds: float) -> dict[str, float]:
    return stage_columns(seconds, [seconds])


def test_the_sentence_names_the_bottleneck_and_a_setting() -> None:
    busy = bottleneck([row(computing=98.0, waiting=1.0, copying=1.0)])
    assert busy.startswith("Of the training's time, 98% computing. To shorten computing: ")
    waits = bottleneck([row(computing=60.0, waiting=40.0)])
    assert "60% computing, 40% waiting for data" in waits
    assert "To shorten waiting for data: train.cache" in waits
    talks = bottleneck([row(computing=50.0, waiting=20.0, communicating=30.0)])
    assert "To shorten adding up gradients of the workers: a larger train.batch_size" in talks


def test_the_first_epoch_counts_only_where_there_is_no_other() -> None:
    first, later = row(waiting=100.0, computing=1.0), row(computing=9.0, waiting=0.1)
    assert "waiting for data" in bottleneck([first])
    assert "waiting for data" not in bottleneck([first, later, later])
    assert bottleneck([]) == bottleneck([{"epoch": 1.0}]) == ""
