"""What every training worker does: it builds the network, and trains it on its share of the samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import torch

from pipeline.config import Config
from pipeline.engine.train.record import embedded_modalities, settings_of
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.facets import Frozen
from pipeline.models.memory import keep_freed_memory
from pipeline.objectives.base import Learned
from pipeline.objectives.sealed import build
from pipeline.sample import LABEL
from pipeline.training.callbacks.base import Callback
from pipeline.training.callbacks.checkpoint import Checkpoint, Rhythm
from pipeline.training.callbacks.early_stop import EarlyStop
from pipeline.training.callbacks.mlflow import MlflowCurves
from pipeline.training.callbacks.tensorboard import TensorBoard
from pipeline.training.callbacks.time_limit import TimeLimit
from pipeline.training.callbacks.trace import Trace
from pipeline.training.callbacks.validate import Validate
from pipeline.training.features import FrozenFeatures, collated
from pipeline.training.feed import Batch, Collate, InOrderFeed, LaneFeed, Source
from pipeline.training.loop import Training
from pipeline.training.order import Lanes
from pipeline.training.parts import PartRows
from pipeline.training.ranks import Ranks
from pipeline.training.recipe import Recipe
from pipeline.training.state import last_checkpoint

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Job:
    """What a worker is told; travels as JSON.

    Attributes:
        config: The whole configuration.
        learned: What the objective has learned of the training split's targets.
        tokenizer: JSON of the tokenizer.
        num_samples: Labelled samples of the training split, over all workers.
        statistics: Modality -> what its encoder is to know of the training set.
        recipe: What all epochs have in common; see :func:`pipeline.engine.train.record.recipe_of`.
        attempt: Names this job; workers that Ray Train starts again know their own checkpoint by it.
        resume: Continue from the last checkpoint, whichever job wrote it.
    """

    config: Config
    learned: Learned
    tokenizer: str | None
    num_samples: int
    statistics: Mapping[str, Mapping[str, Any]]
    recipe: dict[str, Any]
    attempt: str
    resume: bool

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the job that continues it."""
        return {**self.recipe, **self.learned, "tokenizer": self.tokenizer}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return {
            "config": self.config.model_dump(mode="json"),
            "learned": dict(self.learned),
            "tokenizer": self.tokenizer,
            "num_samples": self.num_samples,
            "statistics": self.statistics,
            "recipe": self.recipe,
            "attempt": self.attempt,
            "resume": self.resume,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """What :meth:`to_dict` made."""
        config = Config.model_validate(values["config"])
        return cls(**{**values, "config": config})


@dataclass(frozen=True)
class Splits:
    """The samples of a training.

    Attributes:
        parts: Split -> its parts: ``train``, and ``val`` where there is one.
        source: Where the tables of their good samples come from.
    """

    parts: Mapping[str, Sequence[PartRows]]
    source: Source


def frozen_features(job: Job, device: torch.device) -> FrozenFeatures | None:
    """What runs the frozen networks of a training once over its samples; None where it has none, or keeps nothing."""
    config = job.config
    embedded = embedded_modalities(config)
    if not embedded:
        return None
    width, modalities = config.require_objective().width, config.modalities.by_name()
    encoders = {name: modalities[name].build_encoder(width).to(device).eval() for name in embedded}
    decoder = Decoder.build(config.modalities, job.tokenizer)
    return FrozenFeatures(
        cast(dict[str, Frozen], encoders),
        decoder.codecs,
        device,
        config.train.batch_size,
        _precision(config, device),
    )


def train_share(
    job: Job,
    splits: Splits,
    ranks: Ranks,
    device: torch.device,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Trains as one of some workers, which all call this.

    Args:
        job: What is trained.
        splits: The samples, those of all workers.
        ranks: The workers.
        device: Of this one.
        callbacks: What happens after each epoch, behind all else.
    """
    settings = job.config.train
    cpus = os.cpu_count() or 1
    torch.set_num_threads(max(1, cpus // ranks.size) if device.type == "cpu" else 1)
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(settings.seed)  # every worker starts from the same weights
    objective = job.config.require_objective()
    embedded = embedded_modalities(job.config)
    network = build(objective, job.config.modalities, job.learned, job.statistics, embedded)
    network = network.to(device)
    decoder = Decoder.build(job.config.modalities, job.tokenizer)

    def collate(table: pa.Table) -> Batch:
        samples = collated(table, decoder.codecs, embedded)
        return samples | network.identified(samples) | network.targets(table[LABEL].to_pylist())

    changes = {
        name: modality.augmentation()
        for name, modality in job.config.modalities.by_name().items()
        if name not in embedded
    }
    training = Training(
        network,
        _feed(job, splits, ranks, collate),
        _recipe(job, device),
        ranks=ranks,
        device=device,
        augment=changes if settings.augment else {},
        callbacks=[*_callbacks(job, splits, ranks, collate), *callbacks],
    )
    checkpoint = last_checkpoint(job.config.run, device)
    if checkpoint and (job.resume or checkpoint["attempt"] == job.attempt):
        training.state.load(checkpoint)
    training.run()


def _feed(job: Job, splits: Splits, ranks: Ranks, collate: Collate) -> LaneFeed:
    settings, parts = job.config.train, splits.parts["train"]
    lanes = Lanes.of(
        [part.num_rows for part in parts],
        [part.name for part in parts],
        settings.lanes,
        settings.shuffle_rows,
        settings.seed,
    )
    return LaneFeed(
        parts,
        splits.source,
        collate,
        lanes,
        settings.batch_size,
        rank=ranks.rank,
        num_workers=ranks.size,
        repeats=job.config.require_objective().repeats(job.learned, settings.seed),
    )


def _recipe(job: Job, device: torch.device) -> Recipe:
    settings = job.config.train
    return Recipe(
        epochs=settings.epochs,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_fraction=settings.warmup_fraction,
        schedule=settings.schedule,
        max_gradient_norm=settings.max_gradient_norm,
        average_decay=settings.average_decay,
        precision=_precision(job.config, device),
        rows_at_once=settings.rows_at_once,
        on_nan=settings.on_nan,
        seed=settings.seed,
        settings=settings_of(job.config),
    )


def _precision(config: Config, device: torch.device) -> torch.dtype:
    """Of a training's matrix products."""
    precision = config.train.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    return PRECISIONS[precision]


def _callbacks(job: Job, splits: Splits, ranks: Ranks, collate: Collate) -> list[Callback]:
    """What worker 0 does beside the training, in order; the others do nothing."""
    if ranks.rank:
        return []
    settings, run = job.config.train, job.config.run
    score = job.config.require_objective().score
    callbacks: list[Callback] = []
    if "val" in splits.parts:
        feed = InOrderFeed(splits.parts["val"], splits.source, collate, settings.batch_size)
        callbacks.append(Validate(feed))
    if settings.early_stopping is not None:
        stopping = settings.early_stopping
        callbacks.append(EarlyStop(score, stopping.patience, stopping.min_delta))
    about = {"attempt": job.attempt, "identity": job.identity}
    if settings.max_seconds is not None:
        callbacks.append(TimeLimit(settings.max_seconds))
    every = settings.checkpoint_every
    rhythm = Rhythm(every.seconds, every.steps)
    checkpoint = Checkpoint(run, score, about, rhythm, settings.keep_checkpoints)
    trackers: dict[str, Callable[[], Callback]] = {
        "tensorboard": lambda: TensorBoard(run),
        "mlflow": lambda: MlflowCurves(run, settings_of(job.config)),
    }
    callbacks += [trackers[name]() for name in settings.track]
    if settings.profile:
        callbacks.append(Trace(run))
    return [*callbacks, checkpoint]
