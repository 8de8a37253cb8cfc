"""A training that goes on from its checkpoint is the one that was never interrupted."""

import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.models.record import Score, extended, kept_epoch
from pipeline.training.callbacks.checkpoint import Checkpoint
from pipeline.training.optimization.average import build_average
from pipeline.training.optimization.optimizers import build_optimizer
from pipeline.training.state import TrainingState, load_checkpoint

if TYPE_CHECKING:
    from pipeline.training.loop import Training


def begin(width: int = 4) -> TrainingState:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
    return TrainingState(model, [build_optimizer(model, 1e-2, 0.1)], build_average(model, 0.9))


def train(state: TrainingState, epochs: range) -> None:
    for epoch in epochs:
        generator = torch.Generator().manual_seed(epoch)
        batch = torch.randn(8, 3, generator=generator)
        for _ in range(3):
            loss = (state.model(batch) - batch.sum(1, keepdim=True)).square().mean()
            state.optimizers[0].zero_grad()
            loss.backward()
            state.optimizers[0].step()
            state.average.update_parameters(state.model)
        state.add({"epoch": epoch + 1, "train_loss": loss.item()}, {"learning_rate": 1e-2})


def checkpoint(state: TrainingState) -> dict:
    found: dict = torch.load(io.BytesIO(state.dump(attempt="x")), weights_only=True)
    return found


def test_going_on_is_as_if_it_had_never_stopped() -> None:
    whole = begin()
    train(whole, range(5))
    first = begin()
    train(first, range(3))
    first.best = 0.75
    second = begin()
    second.load(checkpoint(first))
    assert second.history == first.history
    assert second.best == 0.75
    train(second, range(3, 5))
    assert second.history == whole.history, "weights and optimizer go on from where they were"
    assert second.ranges == whole.ranges == [
        {"first": 1, "last": 5, "settings": {"learning_rate": 1e-2}}
    ]  # fmt: skip
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value)
        averages = [each.average.module.state_dict()[name] for each in (second, whole)]
        assert torch.equal(*averages)
    assert second.average.n_averaged == whole.average.n_averaged


def test_settings_are_those_of_now_and_not_of_the_checkpoint() -> None:
    first = begin()
    train(first, range(1))
    second = begin()
    for group in second.optimizers[0].param_groups:
        group["lr"], group["weight_decay"] = 0.5, 0.25
    second.load(checkpoint(first))
    groups = second.optimizers[0].param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.5, 0.25)] * 2
    assert second.optimizers[0].state, "what the optimizer remembers is the checkpoint's"


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    other = begin(width=5)
    train(other, range(1))
    with pytest.raises(ConfigError, match="the last checkpoint does not fit"):
        begin().load(checkpoint(other))


def test_epochs_are_told_with_their_settings() -> None:
    ranges = []
    for epoch, rate in enumerate([1e-3, 1e-3, 1e-4, 1e-3, 1e-3], start=1):
        ranges = extended(ranges, {"learning_rate": rate}, epoch)
    assert [(each["first"], each["last"], each["settings"]["learning_rate"]) for each in ranges] == [
        (1, 2, 1e-3), (3, 3, 1e-4), (4, 5, 1e-3),
    ]  # fmt: skip


def test_the_kept_epoch_says_what_chose_it() -> None:
    score = Score("accuracy", "max")
    assert score.column({"val_accuracy": 0.5, "train_accuracy": 0.9}) == "val_accuracy"
    chosen = {"epoch": 8, "of": 12, "chosen_by": score.column({"train_accuracy": 0.9})}
    assert kept_epoch({**chosen, "chosen_by": "val_accuracy"}).startswith("epoch 8 of 12, the best")
    assert "chosen on the training data" in kept_epoch(chosen)
    assert kept_epoch(None) == ""


def test_a_score_that_is_nowhere_leaves_the_choice_to_another() -> None:
    score = Score("map", "max", otherwise=Score("loss", "min"))
    defined = [{"val_map": value, "val_loss": value} for value in (0.5, 0.75, 0.25)]
    assert max(defined, key=score.rank) is defined[1]
    assert score.column(defined[0]) == "val_map"
    undefined = [{"val_loss": value, "train_loss": 1 - value} for value in (0.5, 0.75, 0.25)]
    assert max(undefined, key=score.rank) is undefined[2], "the direction is the other's too"
    assert score.column(undefined[0]) == "val_loss"
    assert score.column({"train_loss": 1.0}) == "train_loss"


def test_the_best_epoch_is_the_highest_or_the_lowest() -> None:
    rows = [{"train_mae": 9.0, "val_mae": value} for value in (3.0, 1.0, 2.0, float("nan"))]
    for direction, best in (("max", 3.0), ("min", 1.0)):
        score = Score("mae", direction)
        assert max(rows, key=score.rank)["val_mae"] == best
        assert min(rows, key=score.rank) is rows[3], "what is no number is the worst"


def kept_of(values: list[float], count: int, score: Score, split: str = "val") -> int:
    """Number of the epoch that is kept, from 1."""
    best, kept = -math.inf, 0
    for number, value in enumerate(values, start=1):
        row = {f"{split}_{score.name}": value, "rows_val": count}
        best = max(best, score.rank(row))
        kept = number if score.is_as_good(row, best) else kept
    return kept


def test_of_epochs_that_only_chance_tells_apart_the_last_is_kept() -> None:
    values = [0.40, 0.60, 0.50, 0.55, 0.30]
    share = Score("accuracy", "max", is_share=True)
    assert kept_of(values, 17, share) == 4, "0.05 of 17 samples is less than one of them"
    assert kept_of(values, 5000, share) == 2, "0.05 of 5,000 samples is no chance"
    assert kept_of(values, 17, share, split="train") == 2, "what was trained on has no such error"
    assert kept_of(values, 17, Score("accuracy", "max")) == 2
    assert kept_of([1.0, 0.9, math.nan], 17, share) == 1, "none is right by chance where all were"
    assert kept_of([math.nan, 0.1, math.nan], 17, share) == 2
    # One standard error of the share of right answers among samples, by drawing them.
    draws = np.random.default_rng(0).binomial(40, 0.7, 200_000) / 40
    for distance, kept in ((0.9, 2), (1.1, 1)):
        assert kept_of([0.7 + distance * draws.std(), 0.7], 40, share) == kept


def test_what_was_kept_in_place_of_the_best_is_told() -> None:
    kept = {"epoch": 40, "of": 40, "chosen_by": "val_accuracy", "best": 8}
    assert kept_epoch(kept).endswith("within chance of the best by the validation split, epoch 8")


def test_the_checkpoint_keeps_the_last_of_epochs_that_only_chance_tells_apart(
    tmp_path: Path,
) -> None:
    state = begin()
    training = cast(
        "Training",
        SimpleNamespace(state=state, average=state.average, settled={"temperature": 1.5}, stop=""),
    )
    callback = Checkpoint(str(tmp_path), Score("accuracy", "max", is_share=True), {})
    for number, value in enumerate([0.40, 0.60, 0.50, 0.55, 0.30], start=1):
        row = {"epoch": number, "val_accuracy": value, "rows_val": 17}
        state.add(row, {})
        callback.epoch_ended(training, row)
    kept = load_checkpoint(str(tmp_path / "checkpoints" / "best.pt"))
    assert kept["metrics"]["epoch"] == 4
    assert kept["learned"] == {"temperature": 1.5}
    assert state.best == 0.60, "the best stays what later epochs are held against"
