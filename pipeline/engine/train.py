"""Training with Ray Train, from shards to a sealed bundle."""

from __future__ import annotations

import json
import platform
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray.data import Dataset, RandomSeedConfig
from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from pipeline import __version__, storage
from pipeline.config import Config
from pipeline.engine.cache import CachedDecoder, clear_cache, prepare_cache, require_local
from pipeline.engine.cleaning import Cleaned, clean
from pipeline.engine.data import read_parts
from pipeline.engine.failures import plain_errors
from pipeline.engine.prepare import (
    check_tokenizer,
    class_names,
    count_labels,
    ensure_tokenizer,
    plan_parts,
)
from pipeline.engine.progress import Progress
from pipeline.engine.train_loop import (
    BEST,
    CHECKPOINTS,
    LAST,
    PROGRESS,
    Job,
    load_checkpoint,
    train_worker,
)
from pipeline.errors import ConfigError, RunError
from pipeline.modalities.decode import Decoder
from pipeline.models.bundle import Bundle
from pipeline.runs import METRICS_LOG, Summary, process_clock
from pipeline.sample import FILTERED, KEY, OUTCOME, QUARANTINED
from pipeline.shards.plan import Part
from pipeline.sinks.quarantine import (
    clear_quarantine,
    num_noted,
    read_quarantine,
    set_bad_aside,
)

TRAINER_CPUS = 0.5  # of a worker without a GPU, so that decoding has something left to run on
# Restarts, each from the last checkpoint, at most; Ray Train's own limits are none, but for the first, which is 0.
RESTARTS: dict[str, Any] = {
    "max_failures": 2,  # of the workers
    "controller_failure_limit": 2,
    "max_preemption_failures": 20,  # of nodes taken away with notice, which is no fault of the training
}
SECONDS_BETWEEN_LOOKS = 1.0


def train(config: Config, summary: Summary) -> Bundle:
    """Trains a model and seals it in RUN/model.

    Args:
        config: The whole configuration.
        summary: Counts, times and metrics are added to it.

    Raises:
        ConfigError: No labels, no shards, or a checkpoint of other settings.
        RunError: Training failed.
    """
    label = config.require_objective().label
    if config.train.cache == "disk":
        require_local(config.run)
    parts = {"train": plan_parts(config, "train", "input.train", label=label)}
    if config.input.val is not None:
        parts["val"] = plan_parts(config, "val", "input.val", label=label)
    tokenizer = ensure_tokenizer(config, "train")
    for split in parts:
        check_tokenizer(config, split, f"input.{split}", tokenizer)
    cleaned = _cleaned(config, parts, tokenizer)
    parts = cleaned.parts
    counts = {split: count_labels(found, label, config.limits) for split, found in parts.items()}
    classes = class_names(config, counts["train"])
    num_samples = sum(counts["train"].labels.values())
    attempt = uuid.uuid4().hex
    job = Job(config, classes, tokenizer, num_samples, attempt, config.train.resume)
    _check_resume(job)
    clear_quarantine(config.run)
    decoder = Decoder.build(
        config.modalities, tokenizer, label=label, classes=classes, **config.handling()
    )
    everything = [part for found in parts.values() for part in found]
    decoder = _with_cache(decoder, job, everything, cleaned)
    datasets = {
        split: read_parts(
            found,
            decoder,
            partial(set_bad_aside, output=config.run),
            in_order=True,
            seed=config.train.seed if split == "train" else None,
        )
        for split, found in parts.items()
    }
    summary.first_sample = process_clock()
    with plain_errors("train"), _progress(config, num_samples):
        if config.train.cache == "memory":
            datasets = {split: dataset.materialize() for split, dataset in datasets.items()}
            order = RandomSeedConfig(config.train.seed, reseed_after_execution=True)
            datasets["train"] = datasets["train"].randomize_block_order(seed=order)
        _fit(config, job, datasets)
    bad = read_quarantine(config.run)
    num_read = sum(count.samples for count in counts.values())
    left_out = Counter(bad.filter(bad[KEY].is_valid())[OUTCOME].to_pylist())
    summary.count(
        num_read - left_out[QUARANTINED] - left_out[FILTERED],
        left_out[QUARANTINED],
        left_out[FILTERED],
        Counter(bad["reason"].to_pylist()),
        num_noted(bad),
    )
    summary.shards_damaged = len(set(bad.filter(bad[KEY].is_null())["shard"].to_pylist()))
    summary.parts_done = sum(map(len, parts.values()))
    bundle = _seal(job)
    bundle.save(config.folder("model"))
    summary.fingerprint, summary.metrics = bundle.fingerprint, dict(bundle.metrics)
    summary.metrics |= cleaned.metrics
    if cleaned.report:
        summary.report["cleaning"] = cleaned.report
    return bundle


def _cleaned(config: Config, parts: Mapping[str, Sequence[Part]], tokenizer: str | None) -> Cleaned:
    """The parts without the copies that the configuration leaves out, before labels are counted."""
    objective = config.require_objective()
    decoder = Decoder.build(
        config.modalities,
        tokenizer,
        label=objective.label,
        classes=objective.classes or None,
        **config.handling(),
    )
    return clean(config, "train", parts, decoder)


def _with_cache(decoder: Decoder, job: Job, parts: Sequence[Part], cleaned: Cleaned) -> Decoder:
    """Looks decoded parts up on the disk where the configuration asks for that; removes a cache that is not used."""
    if job.config.train.cache != "disk":
        clear_cache(job.config.run)
        return decoder
    identity = {name: job.identity[name] for name in ("modalities", "classes", "tokenizer")}
    identity["label"], identity["verify"] = decoder.label, job.config.input.verify
    if cleaned.digest:  # the same part may leave out others than before
        identity["cleaning"] = cleaned.digest
    return CachedDecoder.of(decoder, prepare_cache(job.config.run, identity, parts))


def _check_resume(job: Job) -> None:
    url = storage.join(job.config.run, CHECKPOINTS, LAST)
    if not job.resume or not storage.exists(url):
        return
    there, ours = load_checkpoint(url)["identity"], job.identity
    for name in ours:
        if there.get(name) != ours[name]:
            raise ConfigError(
                f"the last checkpoint was made with other {name}",
                where=url,
                fix="restore the settings it was made with, or train without train.resume",
            )


def _fit(config: Config, job: Job, datasets: dict[str, Dataset]) -> None:
    """Runs the workers: in this process where one worker on this machine's CPUs is asked for."""
    cluster = config.cluster
    use_gpu = cluster.gpus_per_worker > 0
    in_process = cluster.address == "local" and cluster.workers == 1 and not use_gpu
    resources = {"GPU": cluster.gpus_per_worker} if use_gpu else {"CPU": TRAINER_CPUS}
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=job.to_dict(),
        scaling_config=ScalingConfig(
            num_workers=0 if in_process else cluster.workers,
            use_gpu=use_gpu,
            resources_per_worker=None if in_process else resources,
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=_absolute(storage.join(config.run, CHECKPOINTS)),
            failure_config=FailureConfig(**RESTARTS),
        ),
        datasets=dict(datasets),
        # Rank 0 alone validates, on the whole validation split.
        dataset_config=DataConfig(datasets_to_split=["train"]),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        cause = str(error.__cause__ or error).strip().splitlines()[-1]
        raise RunError(
            f"training failed: {cause[:300]}",
            where=config.run,
            fix="see the log above; train.resume=true continues from the last checkpoint",
        ) from error


def _seal(job: Job) -> Bundle:
    """Makes the bundle of the best checkpoint."""
    from safetensors.torch import save

    config = job.config
    best = load_checkpoint(storage.join(config.run, CHECKPOINTS, BEST))
    row = best["metrics"]
    weights = {name: value.contiguous() for name, value in best["weights"].items()}
    return Bundle(
        objective=config.require_objective().model_dump(mode="json"),
        modalities=config.modalities,
        classes=job.classes,
        tokenizer=job.tokenizer,
        metrics={name: value for name, value in row.items() if name.startswith(("val_", "epoch"))},
        training={
            "settings": config.train.model_dump(mode="json", exclude={"resume"}),
            "augment": {
                name: each.model_dump(mode="json", include={"augment"}).get("augment")
                for name, each in config.modalities.by_name().items()
            },
            "samples": job.num_samples,
            "workers": config.cluster.workers,
            "versions": {
                "pipeline": __version__,
                "python": platform.python_version(),
                "ray": ray.__version__,
                "torch": str(torch.__version__),
            },
        },
        weights=save(weights),
    )


@contextmanager
def _progress(config: Config, num_samples: int) -> Iterator[None]:
    """Follows the log and the note that worker 0 leaves in the run folder, wherever it runs."""
    for name in (METRICS_LOG, f"{CHECKPOINTS}/{PROGRESS}"):
        if not (name == METRICS_LOG and config.train.resume):
            storage.remove(storage.join(config.run, name))
    stop = threading.Event()
    with Progress("train", config.train.epochs, "epochs") as progress:
        follower = threading.Thread(
            target=_follow, args=(config, progress, num_samples, stop), daemon=True
        )
        follower.start()
        try:
            yield
        finally:
            stop.set()
            follower.join()


def _follow(config: Config, progress: Progress, num_samples: int, stop: threading.Event) -> None:
    ended = False
    while not ended:
        ended = stop.wait(SECONDS_BETWEEN_LOOKS)
        rows = read_history(config.run)
        fresh = len(rows) - progress.done
        note = ""
        if rows:
            shown = ("train_loss", "train_accuracy", "val_accuracy")
            note = ", ".join(f"{name} {rows[-1][name]:.3f}" for name in shown if name in rows[-1])
        progress.advance(fresh, fresh * num_samples, note=note or _part_of_epoch(config))


def _part_of_epoch(config: Config) -> str:
    try:
        text = storage.read_bytes(storage.join(config.run, CHECKPOINTS, PROGRESS))
    except FileNotFoundError:
        return "decoding"
    return f"{json.loads(text)['epoch']:.2f} epochs"


def read_history(run: str) -> list[dict[str, float]]:
    """The rows of the run's metrics.jsonl, one an epoch; none before the first epoch has ended."""
    try:
        text = storage.read_bytes(storage.join(run, METRICS_LOG)).decode()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def _absolute(url: str) -> str:
    return str(Path(storage.local_path(url)).absolute()) if storage.is_local(url) else url
