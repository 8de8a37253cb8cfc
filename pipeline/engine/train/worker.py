"""What every training worker runs: epochs over its share of the data, checkpoints, metrics."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray.train
import torch
from ray.train.torch import get_device, prepare_model
from torch import Tensor

from pipeline import storage
from pipeline.config import Config, TrainConfig
from pipeline.engine.train.epochs_ledger import ROWS
from pipeline.engine.train.progress import PROGRESS
from pipeline.engine.train.record import settings_of
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.batch import to_device, to_tensors
from pipeline.models.memory import keep_freed_memory
from pipeline.models.record import BEST, CHECKPOINTS, LAST
from pipeline.objectives.base import Learned
from pipeline.objectives.sealed import build
from pipeline.runs import METRICS_LOG
from pipeline.sample import LABEL
from pipeline.training.optimization import (
    WeightAverage,
    build_optimizer,
    learning_rate_at,
    set_learning_rate,
)
from pipeline.training.seeds import augmentation_chance, epoch_seed
from pipeline.training.state import TrainingState, dump, load_checkpoint

SECONDS_BETWEEN_NOTES = 2.0


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


def train_worker(values: dict[str, Any]) -> None:
    """The function that Ray Train runs on every worker."""
    context = ray.train.get_context()
    _Worker(Job.from_dict(values), context.get_world_rank(), context.get_world_size()).run()


class _Worker:
    def __init__(self, job: Job, rank: int, size: int) -> None:
        self.job, self.rank, self.size = job, rank, size
        self.config: TrainConfig = job.config.train
        self.device = get_device()
        cpus = os.cpu_count() or 1
        torch.set_num_threads(max(1, cpus // size) if self.device.type == "cpu" else 1)
        if self.device.type == "cpu":
            keep_freed_memory()
        # Every worker starts from the same weights; what differs between them is drawn after that.
        torch.manual_seed(self.config.seed)
        objective = job.config.require_objective()
        model = build(objective, job.config.modalities, job.learned, job.statistics)
        self.model = model.to(self.device)
        self.score = objective.score
        self.wrapped = prepare_model(self.model) if size > 1 else self.model
        self.optimizer = build_optimizer(
            self.model, self.config.learning_rate, self.config.weight_decay
        )
        self.average = WeightAverage(self.model, self.config.average_decay)
        self.state = TrainingState(self.model, self.optimizer, self.average)
        self.settings = settings_of(job.config)
        self.decoder = Decoder.build(job.config.modalities, job.tokenizer)
        self.augment = {
            name: each.augmentation() for name, each in job.config.modalities.by_name().items()
        }
        self.precision = _precision(self.config, self.device)
        self.noted = 0.0
        self.settled: Learned = {}  # of the validation split in the last epoch
        self.rows: dict[str, int] = {}  # of each split, taken in this epoch

    def run(self) -> None:
        self._load()
        for epoch in range(len(self.state.history), self.config.epochs):
            torch.manual_seed(epoch_seed(self.config.seed, epoch, self.rank))
            began = time.monotonic()
            sums, rate = self._epoch(epoch)
            rows = {f"{ROWS}train": _total(self.rows["train"], self.size, self.device)}
            train = self._metrics(sums)
            row: dict[str, float] = {"epoch": epoch + 1, "learning_rate": rate}
            row |= {f"train_{name}": value for name, value in train.items()}
            if self.rank == 0:
                row |= {f"val_{name}": value for name, value in self._validate().items()}
                rows[f"{ROWS}val"] = float(self.rows.get("val", 0))
            row |= rows
            seconds = time.monotonic() - began
            row["seconds"] = round(seconds, 3)
            row["samples_per_second"] = round(sums.get("samples", 0.0) / seconds, 1)
            self.state.add(row, self.settings)
            if self.rank == 0:
                self._save(row)
            ray.train.report(row)

    def _epoch(self, epoch: int) -> tuple[dict[str, float], float]:
        """One pass over this worker's share. Returns the sums over all workers, and the last learning rate."""
        self.wrapped.train()
        chance = augmentation_chance(self.config.seed, epoch, self.rank, self.device)
        steps = max(1, -(-self.job.num_samples // self.config.batch_size))
        total = steps * self.config.epochs
        warmup = int(total * self.config.warmup_fraction)
        sums: dict[str, Tensor] = {}
        rate = 0.0
        for step, found in enumerate(self._batches("train", epoch)):
            batch = to_device(found, self.device)
            for name, augment in self.augment.items():
                if self.config.augment:
                    batch[name] = augment(batch[name], chance)
            position = epoch * steps + min(step, steps - 1)
            rate = learning_rate_at(position, total, warmup, self.config.learning_rate)
            set_learning_rate(self.optimizer, rate)
            self._step(batch, sums)
            self._note(epoch, step / steps)
        return _summed(sums, self.size), rate

    def _step(self, batch: dict[str, Tensor], sums: dict[str, Tensor]) -> None:
        for turn in self.model.turns:
            with torch.autocast(
                self.device.type, self.precision, enabled=self.precision != torch.float32
            ):
                loss, counted = self.wrapped(batch, turn)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_gradient_norm)
            self.optimizer.step()
        self.average.update(self.model)
        for name, value in counted.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Metrics of the averaged weights on the whole validation split."""
        if self.job.config.input.val is None:
            return {}
        kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.average.copy_to(self.model)
        self.model.eval()
        sums: dict[str, Tensor] = {}
        observed: dict[str, list[Tensor]] = {}
        for host_batch in self._batches("val", None):
            batch = to_device(host_batch, self.device)
            _, counted = self.model.loss(batch)
            for name, value in counted.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            for name, value in self.model.observed(batch).items():
                observed.setdefault(name, []).append(value.cpu())
        arrays = {name: torch.cat(values).numpy() for name, values in observed.items()}
        self.settled = self.model.settled(arrays) if arrays else {}
        self.model.load_state_dict(kept)
        return self._metrics({name: float(value) for name, value in sums.items()})

    def _metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        return self.model.metrics(sums) if sums else {}

    def _batches(self, split: str, epoch: int | None) -> Iterator[dict[str, Tensor]]:
        """Batches of this worker's share; shuffled with a seed of their own where an epoch is given."""
        shard = ray.train.get_dataset_shard(split)
        size = max(1, self.config.batch_size // (self.size if epoch is not None else 1))
        shuffle: dict[str, Any] = {}
        if epoch is not None:
            shuffle = {
                "local_shuffle_buffer_size": max(self.config.shuffle_rows, size),
                "local_shuffle_seed": epoch_seed(self.config.seed, epoch, self.rank),
            }
        batches: Iterator[pa.Table] = shard.iter_batches(
            batch_size=size, batch_format="pyarrow", **shuffle
        )
        self.rows[split] = 0
        for table in batches:
            self.rows[split] += table.num_rows
            targets = self.model.targets(table[LABEL].to_pylist())
            yield to_tensors(table, self.decoder.codecs) | targets

    def _save(self, row: dict[str, float]) -> None:
        """Writes the log, the last checkpoint and, where this epoch is the best, the best one."""
        run, state = self.job.config.run, self.state
        lines = "".join(json.dumps(each) + "\n" for each in state.history)
        rank = self.score.rank(row)
        if rank >= state.best:
            state.best = rank
            weights = {
                "weights": dict(self.average.weights),
                "metrics": row,
                "learned": dict(self.settled),
            }
            storage.write_bytes(storage.join(run, CHECKPOINTS, BEST), dump(weights))
        last = state.dump(attempt=self.job.attempt, identity=self.job.identity)
        storage.write_bytes(storage.join(run, CHECKPOINTS, LAST), last)
        storage.write_bytes(storage.join(run, METRICS_LOG), lines.encode())

    def _load(self) -> None:
        url = storage.join(self.job.config.run, CHECKPOINTS, LAST)
        if storage.exists(url):
            checkpoint = load_checkpoint(url, self.device)
            if self.job.resume or checkpoint["attempt"] == self.job.attempt:
                self.state.load(checkpoint)

    def _note(self, epoch: int, fraction: float) -> None:
        """Leaves word of how far it is, for the driver's progress line."""
        if self.rank == 0 and time.monotonic() - self.noted > SECONDS_BETWEEN_NOTES:
            self.noted = time.monotonic()
            note = json.dumps({"epoch": epoch + fraction}).encode()
            storage.write_bytes(storage.join(self.job.config.run, CHECKPOINTS, PROGRESS), note)


def _total(count: int, size: int, device: torch.device) -> float:
    """A count, added up over all workers."""
    total = torch.tensor(float(count), dtype=torch.float64, device=device)
    if size > 1:
        torch.distributed.all_reduce(total)
    return float(total)


def _summed(sums: Mapping[str, Tensor], size: int) -> dict[str, float]:
    """Adds the sums of all workers."""
    if size > 1:
        for name in sorted(sums):
            torch.distributed.all_reduce(sums[name])
    return {name: float(value) for name, value in sums.items()}


def _precision(config: TrainConfig, device: torch.device) -> torch.dtype:
    if config.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
