"""A training whose time is over ends behind a step, and goes on from there as if it had never ended."""

from __future__ import annotations

from pathlib import Path

import torch
from test_loop import Share, Small

from pipeline.models.record import TIME_IS_OVER, Score
from pipeline.training.callbacks.checkpoint import Checkpoint
from pipeline.training.callbacks.time_limit import TimeLimit
from pipeline.training.loop import Training
from pipeline.training.recipe import Recipe
from pipeline.training.state import last_checkpoint

RECIPE = Recipe(3, learning_rate=1e-2, average_decay=0.9)
SCORE = Score("error", "min")


class Clock:
    """A second a look."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 1.0
        return self.time


def training(run: Path, seconds: float) -> Training:
    callbacks = [TimeLimit(seconds, Clock()), Checkpoint(str(run), SCORE, {})]
    return Training(Small(), Share(), RECIPE, callbacks=callbacks)


def test_it_ends_behind_a_step_and_goes_on_from_there(tmp_path: Path) -> None:
    whole = training(tmp_path / "whole", 1000.0)
    whole.run()
    assert not whole.stop
    run, places = tmp_path / "parts", []
    for _ in range(30):
        parts = training(run, 2.0)  # two looks, one behind each step: over behind the third
        if (checkpoint := last_checkpoint(str(run))) is not None:
            parts.state.load(checkpoint)
        parts.run()
        checkpoint = last_checkpoint(str(run))
        assert checkpoint is not None
        places.append((len(checkpoint["history"]), checkpoint["position"]["steps"]))
        if not parts.stop:
            break
        assert checkpoint["stop"] == parts.stop == TIME_IS_OVER
    assert places[-1] == (3, 0)
    assert len(places) == len(set(places)) > 3, "each gets further"
    assert any(steps for _, steps in places), "within epochs too"
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
    errors = [row["train_error"] for row in whole.state.history]
    assert [row["train_error"] for row in parts.state.history] == errors
