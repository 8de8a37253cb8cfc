"""The live line of a training: follows the log that worker 0 leaves in the run folder, wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.observe.looks import looking
from pipeline.engine.observe.progress import Progress
from pipeline.models.record import CHECKPOINTS, PROGRESS
from pipeline.runs import METRICS_LOG


@contextmanager
def training_progress(config: Config, num_samples: int) -> Iterator[None]:
    """Shows epochs, samples a second and the last metrics, until the training ends."""
    for name in (METRICS_LOG, f"{CHECKPOINTS}/{PROGRESS}"):
        if not (name == METRICS_LOG and config.train.resume):
            storage.remove(storage.join(config.run, name))
    before = len(read_history(config.run))
    with (
        Progress("train", config.train.epochs, "epochs", before) as progress,
        looking(partial(_show, config, progress, num_samples)),
    ):
        yield


def read_history(run: str) -> list[dict[str, float]]:
    """The rows of the run's metrics.jsonl, one an epoch; none before the first epoch has ended."""
    try:
        text = storage.read_bytes(storage.join(run, METRICS_LOG)).decode()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def _show(config: Config, progress: Progress, num_samples: int) -> None:
    rows = read_history(config.run)
    within = _epochs_by_steps(config)
    # Workers that begin again from a checkpoint are behind what was shown until they have caught up.
    fresh = max(0.0, max(float(len(rows)), within or 0.0) - progress.done)
    note = "decoding" if within is None and not rows else ""
    if rows:
        score = config.require_objective().score.name
        shown = ("train_loss", f"train_{score}", f"val_{score}")
        note = ", ".join(f"{name} {rows[-1][name]:.3f}" for name in shown if name in rows[-1])
    progress.advance(fresh, round(fresh * num_samples), note=note)


def _epochs_by_steps(config: Config) -> float | None:
    """Epochs that are done, with the share of the present one; None before the first step."""
    try:
        text = storage.read_bytes(storage.join(config.run, CHECKPOINTS, PROGRESS))
    except FileNotFoundError:
        return None
    return float(json.loads(text)["epoch"])
