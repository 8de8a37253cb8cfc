"""A training's best checkpoint -> a sealed bundle."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from pipeline import __version__, storage
from pipeline.config import Config
from pipeline.engine.train.record import settings_of, shards_of
from pipeline.engine.train.worker import Job
from pipeline.errors import RunError
from pipeline.models.bundle import Bundle
from pipeline.models.record import BEST, CHECKPOINTS, LAST, TIME_IS_OVER, Kept, kept_epoch
from pipeline.training.state import load_checkpoint

logger = logging.getLogger(__name__)


def seal(job: Job, num_parts: int) -> Bundle:
    """Makes the bundle of the best checkpoint.

    Args:
        job: What was trained.
        num_parts: Of all splits.

    Raises:
        RunError: The training ended before its first epoch was done.
    """
    from safetensors.torch import save

    config = job.config
    last = load_checkpoint(storage.join(config.run, CHECKPOINTS, LAST))
    if not last["history"]:
        raise RunError(
            f"there is no model yet: {last['stop']} before the first epoch was done",
            where=config.run,
            fix="train.resume=true goes on from there; raise train.max_seconds to get further at a time",
        )
    best = load_checkpoint(storage.join(config.run, CHECKPOINTS, BEST))
    row = best["metrics"]
    choice = _choice(config, row, last)
    by_validation = choice["chosen_by"].startswith("val_")
    logger.log(logging.INFO if by_validation else logging.WARNING, "kept %s", kept_epoch(choice))
    weights = {name: value.contiguous() for name, value in best["weights"].items()}
    chosen = "val_" if by_validation else "train_"
    return Bundle.of(
        objective=config.require_objective().model_dump(mode="json"),
        modalities=config.modalities,
        learned={**job.learned, **best["learned"]},
        tokenizer=job.tokenizer,
        metrics={name: value for name, value in row.items() if name.startswith(chosen)},
        training={
            "settings": settings_of(config)["train"],
            "ranges": last["ranges"],
            "kept": choice,
            "recipe": job.recipe,
            "shards": shards_of(config),
            "samples": job.num_samples,
            "parts": num_parts,
            "versions": {
                "pipeline": __version__,
                "python": platform.python_version(),
                "ray": version("ray"),
                "torch": str(torch.__version__),
            },
        },
        weights=save(weights),
    )


def _choice(config: Config, row: Mapping[str, float], last: Mapping[str, Any]) -> Kept:
    """What the bundle says of the epoch that is kept.

    Args:
        config: The configuration of the training.
        row: The epoch's numbers.
        last: The last checkpoint.
    """
    score = config.require_objective().score
    choice: Kept = {
        "epoch": int(row["epoch"]),
        "of": len(last["history"]),
        "chosen_by": score.column(row),
    }
    best_row = max(last["history"], key=score.rank)
    if score.rank(best_row) > score.rank(row):
        choice["best"] = int(best_row["epoch"])
    if choice["of"] < config.train.epochs:
        choice["stopped_before"] = config.train.epochs
        if last["stop"] == TIME_IS_OVER:
            choice["since"] = TIME_IS_OVER
    return choice
