"""Trainings that stop anywhere and go on: every sample once an epoch, and the same weights."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lanes import MemoryParts
from test_loop import Small, ThreadRanks, without_times
from torch import Tensor

from pipeline import storage
from pipeline.errors import ConfigError, SinkError
from pipeline.modalities.chance import CHANCE
from pipeline.models.record import LAST, Score
from pipeline.training.callbacks.base import Callback
from pipeline.training.callbacks.checkpoint import Checkpoint, Rhythm
from pipeline.training.feed import Batch
from pipeline.training.loop import Training
from pipeline.training.ranks import LocalRanks, Ranks
from pipeline.training.recipe import Recipe
from pipeline.training.state import Position, dump, earlier_checkpoints, last_checkpoint

SIZES = [13, 4, 9, 0, 21, 7, 1]  # rows of the parts: larger and smaller than a batch of 7, and none
BATCH = 7
STEPS = -(-sum(SIZES) // BATCH)
RECIPE = Recipe(2, learning_rate=1e-2, weight_decay=0.1, warmup_fraction=0.2, average_decay=0.9)


class Stopped(Exception):
    """As a kill, but that the test goes on."""


class Numbers:
    """A feed of numbers in memory that notes which it has given."""

    def __init__(
        self, rank: int = 0, num_workers: int = 1, given: list[int] | None = None, **options: Any
    ) -> None:
        self.feed = MemoryParts(SIZES).feed(rank, num_workers, batch_size=BATCH, **options)
        self.given = [] if given is None else given

    @property
    def samples(self) -> int:
        return self.feed.samples

    @property
    def position(self) -> int:
        return self.feed.position

    @property
    def keys(self) -> pa.Table | None:
        return self.feed.keys

    @property
    def order(self) -> Mapping[str, int]:
        return self.feed.order

    def num_batches(self, epoch: int) -> int:
        return self.feed.num_batches(epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for batch in self.feed.batches(epoch, start):
            self.given += batch["value"].tolist() if batch else []
            yield _as_numbers(batch) if batch else {}


def _as_numbers(batch: Batch) -> dict[str, Tensor]:
    value = batch["value"].float()
    x = torch.stack([value.sin(), value.cos(), (3 * value).sin()], dim=1)
    return {"x": x, CHANCE: batch[CHANCE]}


class StopAt(Callback):
    """Keeps the state at one step, and stops there.

    Args:
        step: Of all epochs together, counted from 1; never where None.
    """

    def __init__(self, step: int | None) -> None:
        self.step, self.done, self.state = step, 0, b""

    def step_ended(self, training: Training, epochs: float) -> None:
        self.done += 1
        training.wants_checkpoint = False

    def checkpoint(self, training: Training) -> None:
        self.state = training.state.dump()
        raise Stopped


class Ask(Callback):
    """Asks for a checkpoint in the step before which the next call is."""

    def __init__(self, step: int | None) -> None:
        self.step, self.done = step, 0

    def begin(self, training: Training) -> None:
        if self.step == 1:
            training.wants_checkpoint = True

    def step_ended(self, training: Training, epochs: float) -> None:
        self.done += 1
        training.wants_checkpoint = self.step is not None and self.done + 1 == self.step


def session(
    num_workers: int, stop: int | None, state: bytes = b"", **options: Any
) -> tuple[bytes, list[int], list[Training]]:
    """Workers that go on from a state, and stop behind a step; returns the state, what they were given, and them."""
    together, barrier = [[] for _ in range(num_workers)], threading.Barrier(num_workers)
    stops = [StopAt(stop) for _ in range(num_workers)]
    given: list[list[int]] = [[] for _ in range(num_workers)]
    trainings: list[Training] = []

    def work(rank: int) -> Training:
        ranks: Ranks = LocalRanks() if num_workers == 1 else ThreadRanks(rank, together, barrier)
        asks = [Ask(stop)] if rank == 0 else []
        training = Training(
            networks[rank],
            Numbers(rank, num_workers, given[rank], **options),
            RECIPE,
            ranks=ranks,
            callbacks=[*asks, stops[rank]] if not asks else [stops[rank], *asks],
        )
        if state:
            training.state.load(loaded(state))
        with contextlib.suppress(Stopped):
            training.run()
        return training

    networks = [Small(dropout=0.2 if num_workers == 1 else 0.0) for _ in range(num_workers)]
    with ThreadPoolExecutor(num_workers) as pool:
        trainings = list(pool.map(work, range(num_workers)))
    return stops[0].state, [number for numbers in given for number in numbers], trainings


def loaded(state: bytes) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(io.BytesIO(state), weights_only=True)
    return checkpoint


def weights(training: Training) -> Tensor:
    return torch.cat([value.detach().flatten() for value in training.network.parameters()])


def averaged(training: Training) -> Tensor:
    return torch.cat([value.detach().flatten() for value in training.average.parameters()])


@pytest.mark.parametrize("stop", range(1, 2 * STEPS + 1))
def test_one_worker_goes_on_from_any_step_to_the_same_bits(stop: int) -> None:
    _, _, [unstopped] = session(1, None)
    state, before, _ = session(1, stop)
    _, after, [going_on] = session(1, None, state)
    assert Counter(before + after) == Counter(dict.fromkeys(range(sum(SIZES)), 2))
    assert torch.equal(weights(going_on), weights(unstopped))
    assert torch.equal(averaged(going_on), averaged(unstopped))
    assert without_times(going_on.state.history) == without_times(unstopped.state.history)


@pytest.mark.parametrize("workers", [(2, 2), (1, 2), (2, 1), (3, 2), (2, 3), (1, 3), (3, 1)])
@pytest.mark.parametrize("stop", [3, STEPS, STEPS + 4])
def test_other_workers_go_on_with_the_same_samples(workers: tuple[int, int], stop: int) -> None:
    first, second = workers
    _, _, unstopped = session(first, None)
    state, before, _ = session(first, stop)
    _, after, going_on = session(second, None, state)
    assert Counter(before + after) == Counter(dict.fromkeys(range(sum(SIZES)), 2))
    rows = going_on[0].state.history
    expected = unstopped[0].state.history
    assert [row["rows_train"] for row in rows] == [sum(SIZES)] * 2
    if first == second:
        assert torch.equal(weights(going_on[0]), weights(unstopped[0]))
    elif 1 not in workers:  # one worker alone has dropout here
        torch.testing.assert_close(
            weights(going_on[0]), weights(unstopped[0]), rtol=1e-5, atol=1e-6
        )
        for ours, theirs in zip(rows, expected, strict=True):
            assert ours["train_error"] == pytest.approx(theirs["train_error"], rel=1e-5)


@pytest.mark.parametrize(("sizes", "batch_size"), [([2], 1), ([2, 1], 2), ([1, 0, 0, 1], 7)])
def test_more_workers_than_samples_or_rows_of_a_batch(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], batch_size: int
) -> None:
    """Most of five workers have nothing to do, and take part in every step."""
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "SIZES", sizes)
    monkeypatch.setattr(module, "BATCH", batch_size)
    state, before, _ = session(5, 1)
    _, after, going_on = session(5, None, state)
    assert Counter(before + after) == Counter(dict.fromkeys(range(sum(sizes)), 2))
    _, _, [alone] = session(1, None)
    assert all(torch.equal(weights(going_on[0]), weights(other)) for other in going_on)
    assert [row["rows_train"] for row in alone.state.history] == [sum(sizes)] * 2
    assert [row["rows_train"] for row in going_on[0].state.history] == [sum(sizes)] * 2


def test_stopped_twice_in_one_epoch() -> None:
    _, _, unstopped = session(2, None)
    first, one, _ = session(2, 2)
    second, two, _ = session(3, 3, first)
    _, three, going_on = session(2, None, second)
    assert Counter(one + two + three) == Counter(dict.fromkeys(range(sum(SIZES)), 2))
    torch.testing.assert_close(weights(going_on[0]), weights(unstopped[0]), rtol=1e-5, atol=1e-6)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12),
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 11)), min_size=1, max_size=5
    ),
)
def test_any_stops_of_any_workers_and_batches_give_every_sample_once(
    sizes: list[int], stretches: list[tuple[int, int, int]]
) -> None:
    """Each stretch has other workers, another batch size, and so many steps; the last goes on to the epoch's end."""
    parts = MemoryParts(sizes)
    numbers: list[int] = []
    position = 0
    for place, (num_workers, batch_size, steps) in enumerate(stretches):
        feeds = [
            parts.feed(rank, num_workers, batch_size=batch_size) for rank in range(num_workers)
        ]
        shares = [feed.batches(3, position) for feed in feeds]
        is_last = place == len(stretches) - 1
        for batches in first_steps(shares, None if is_last else steps):
            numbers += [n for batch in batches if batch for n in batch["value"].tolist()]
        positions = {feed.position for feed in feeds}
        assert len(positions) == 1
        position = positions.pop()
    assert sorted(numbers) == list(range(sum(sizes)))


def first_steps(
    shares: Sequence[Iterator[Batch]], steps: int | None
) -> Iterator[tuple[Batch, ...]]:
    return itertools.islice(zip(*shares, strict=True), steps)


def test_an_epoch_that_began_in_another_order_is_not_gone_on_with() -> None:
    state, _, _ = session(1, 3)
    for setting, options in (("lanes", {"lanes": 4}), ("shuffle_rows", {"shuffle_rows": 90})):
        with pytest.raises(ConfigError, match=rf"within epoch 1.*train\.{setting}"):
            session(1, None, state, **options)
    ended, _, _ = session(1, STEPS)
    checkpoint = loaded(ended)
    assert checkpoint["position"]["rows"] == sum(SIZES)


class Patient(Callback):
    """Waits in each step until what is being written is there: the steps of these tests are faster than the disk."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint_writer = checkpoint

    def step_ended(self, training: Training, epochs: float) -> None:
        self.checkpoint_writer._wait()


def run(folder: Path, **options: Any) -> Training:
    checkpoint = Checkpoint(str(folder), Score("error", "min"), {"attempt": "a"}, **options)
    callbacks = [Patient(checkpoint), checkpoint]
    training = Training(Small(), Numbers(), RECIPE, callbacks=callbacks)
    training.run()
    return training


def test_checkpoints_are_written_by_steps_and_so_many_stay(tmp_path: Path) -> None:
    run(tmp_path, rhythm=Rhythm(steps=2), keep=3)
    names = earlier_checkpoints(str(tmp_path))
    assert len(names) == 2
    states = [loaded((tmp_path / "checkpoints" / name).read_bytes()) for name in names]
    places = [(len(state["history"]), state["position"]["steps"]) for state in states]
    assert places == sorted(places), "the oldest first"
    assert all(steps % 2 == 0 and steps for _, steps in places)
    last = last_checkpoint(str(tmp_path))
    assert last is not None
    assert len(last["history"]) == 2
    assert last["position"] == Position().values()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_without_a_rhythm_the_ends_of_epochs_alone_are_written(tmp_path: Path) -> None:
    run(tmp_path, keep=5)
    [name] = earlier_checkpoints(str(tmp_path))
    checkpoint = loaded((tmp_path / "checkpoints" / name).read_bytes())
    assert (len(checkpoint["history"]), checkpoint["position"]["rows"]) == (1, 0)


def test_a_damaged_last_checkpoint_leaves_the_one_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, keep=2)
    last = tmp_path / "checkpoints" / LAST
    last.write_bytes(last.read_bytes()[:-200])
    checkpoint = last_checkpoint(str(tmp_path))
    assert checkpoint is not None
    assert len(checkpoint["history"]) == 1
    assert "last.pt" in caplog.text
    for name in earlier_checkpoints(str(tmp_path)):
        (last.parent / name).write_bytes(b"")
    with pytest.raises(ConfigError, match="the last checkpoint cannot be read"):
        last_checkpoint(str(tmp_path))
    assert last_checkpoint(str(tmp_path / "nothing")) is None


def test_a_disk_that_fills_ends_the_training_and_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = storage.write_bytes, [0]

    def full(url: str, content: bytes) -> None:
        count[0] += url.endswith(LAST)
        if url.endswith(LAST) and count[0] > 2:
            raise SinkError("cannot be written: no space left on device", where=url)
        write(url, content)

    monkeypatch.setattr(storage, "write_bytes", full)
    with pytest.raises(SinkError, match="no space left"):
        run(tmp_path, rhythm=Rhythm(steps=2))
    checkpoint = last_checkpoint(str(tmp_path))
    assert checkpoint is not None
    assert checkpoint["position"]["steps"] == 4


def test_a_training_that_has_diverged_writes_no_checkpoint(tmp_path: Path) -> None:
    class Breaking(Small):
        def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
            loss, sums = super().loss(batch, turn)
            self.calls = getattr(self, "calls", 0) + 1
            return (loss * float("nan") if self.calls > 4 else loss), sums

    checkpoint = Checkpoint(str(tmp_path), Score("error", "min"), {}, Rhythm(steps=1))
    callbacks = [Patient(checkpoint), checkpoint]
    training = Training(Breaking(), Numbers(), RECIPE, callbacks=callbacks)
    with pytest.raises(ConfigError, match="has diverged"):
        training.run()
    last = last_checkpoint(str(tmp_path))
    assert last is not None
    assert last["position"]["steps"] == 4
    assert all(torch.isfinite(value).all() for value in last["model"].values())


def test_a_snapshot_is_not_changed_by_what_comes_after_it() -> None:
    training = Training(Small(), Numbers(), replace(RECIPE, epochs=1))
    snapshot = training.state.snapshot()
    before = dump(snapshot)
    training.run()
    assert dump(snapshot) == before
