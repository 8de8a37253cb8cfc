"""Training with Ray Train, from shards to a sealed bundle."""

from __future__ import annotations

import logging
import platform
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
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
from pipeline.engine.cleaning.clean import Cleaned, clean
from pipeline.engine.cluster.failures import plain_errors
from pipeline.engine.decoding.cache import CachedDecoder, clear_cache, prepare_cache, require_local
from pipeline.engine.executors.batch import check_bad_fraction
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.prepare import check_tokenizer, ensure_tokenizer, plan_parts
from pipeline.engine.train.data import read_parts
from pipeline.engine.train.epochs_ledger import check_epochs
from pipeline.engine.train.progress import read_history, training_progress
from pipeline.engine.train.record import recipe_of, settings_of, shards_of
from pipeline.engine.train.statistics import training_statistics
from pipeline.engine.train.survey import Surveyed, check_targets, survey_targets
from pipeline.engine.train.worker import Job, train_worker
from pipeline.errors import ConfigError, RunError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.bundle import Bundle
from pipeline.models.record import BEST, CHECKPOINTS, LAST, Kept, kept_epoch
from pipeline.redaction import redact
from pipeline.runs import Summary, Total, process_clock
from pipeline.sample import FILTERED, KEY, OUTCOME, QUARANTINED
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import (
    clear_quarantine,
    num_noted,
    read_quarantine,
    set_bad_aside,
)
from pipeline.training.state import load_checkpoint

TRAINER_CPUS = 0.5  # of a worker without a GPU, so that decoding has something left to run on
# Restarts, each from the last checkpoint, at most; Ray Train's own limits are none, but for the first, which is 0.
RESTARTS: dict[str, Any] = {
    "max_failures": 2,  # of the workers
    "controller_failure_limit": 2,
    "max_preemption_failures": 20,  # of nodes taken away with notice, which is no fault of the training
}

logger = logging.getLogger(__name__)


def train(config: Config, summary: Summary) -> Bundle:
    """Trains a model and seals it in RUN/model.

    Args:
        config: The whole configuration.
        summary: Counts, times and metrics are added to it.

    Raises:
        BadDataError: More of the samples are bad than may be; no model is written.
        ConfigError: No labels, no shards, or a checkpoint of other settings.
        RunError: Training failed.
    """
    objective = config.require_objective()
    target = objective.targets()
    if config.train.cache == "disk":
        require_local(config.run)
    parts = {"train": plan_parts(config, "train", "input.train", target=target)}
    if config.input.val is not None:
        parts["val"] = plan_parts(config, "val", "input.val", target=target)
    tokenizer = ensure_tokenizer(config, "train")
    for split in parts:
        check_tokenizer(config, split, f"input.{split}", tokenizer)
    cleaned = _cleaned(config, parts, tokenizer)
    surveys = {
        split: survey_targets(split_parts, objective, config.limits)
        for split, split_parts in cleaned.parts.items()
    }
    learned = objective.learn(surveys["train"].targets)
    check_targets(config, surveys, learned)
    job = Job(
        config=config,
        learned=learned,
        tokenizer=tokenizer,
        num_samples=surveys["train"].targets.count,
        statistics=training_statistics(config, cleaned.parts["train"], tokenizer),
        recipe=recipe_of(config),
        attempt=uuid.uuid4().hex,
        resume=config.train.resume,
    )
    _check_resume(job)
    _train(job, cleaned, surveys, summary)
    summary.parts_done = sum(map(len, cleaned.parts.values()))
    bundle = _seal(job, summary.parts_done)
    bundle.save(config.folder("model"))
    summary.metrics |= cleaned.metrics
    if cleaned.report:
        summary.report["cleaning"] = cleaned.report
    return bundle


def _train(job: Job, cleaned: Cleaned, surveys: Mapping[str, Surveyed], summary: Summary) -> None:
    """Decodes and trains; the best checkpoint and the counts are what comes of it."""
    config = job.config
    clear_quarantine(config.run)
    decoder = Decoder.build(
        config.modalities,
        job.tokenizer,
        target=config.require_objective().targets(job.learned),
        **config.handling(),
    )
    everything = [part for found in cleaned.parts.values() for part in found]
    decoder = _with_cache(decoder, job, everything, cleaned)
    datasets = {
        split: read_parts(
            found,
            decoder,
            partial(set_bad_aside, output=config.run),
            in_order=True,
            seed=config.train.seed if split == "train" else None,
        )
        for split, found in cleaned.parts.items()
    }
    summary.first_sample = process_clock()
    earlier = len(read_history(config.run)) if job.resume else 0
    in_memory = config.train.cache == "memory"
    with plain_errors("train"), training_progress(config, job.num_samples):
        if in_memory:
            datasets = {split: dataset.materialize() for split, dataset in datasets.items()}
            # All is decoded: what is bad is known before the first epoch.
            _count(config, surveys, summary)
            order = RandomSeedConfig(config.train.seed, reseed_after_execution=True)
            datasets["train"] = datasets["train"].randomize_block_order(seed=order)
        _fit(config, job, datasets)
    if not in_memory:
        _count(config, surveys, summary)
    num_read = sum(surveyed.samples for surveyed in surveys.values())
    fresh, bad = read_history(config.run)[earlier:], read_quarantine(config.run)
    check_epochs(fresh, num_read, bad, config.cluster.workers, config.run)


def _count(config: Config, surveys: Mapping[str, Surveyed], summary: Summary) -> None:
    """Counts what became of the samples.

    Raises:
        BadDataError: Too many are bad.
    """
    bad = read_quarantine(config.run)
    num_read = sum(surveyed.samples for surveyed in surveys.values())
    left_out = Counter(bad.filter(bad[KEY].is_valid())[OUTCOME].to_pylist())
    summary.count(
        Total(
            num_read,
            num_read - left_out[QUARANTINED] - left_out[FILTERED],
            left_out[QUARANTINED],
            left_out[FILTERED],
            num_noted(bad),
            reasons=Counter(bad["reason"].to_pylist()),
        )
    )
    summary.shards_damaged = len(set(bad.filter(bad[KEY].is_null())["shard"].to_pylist()))
    check_bad_fraction(config, summary, config.run)


def _cleaned(config: Config, parts: Mapping[str, Sequence[Part]], tokenizer: str | None) -> Cleaned:
    """The parts without the copies that the configuration leaves out, before targets are read."""
    objective = config.require_objective()
    decoder = Decoder.build(
        config.modalities,
        tokenizer,
        target=objective.targets(objective.preset),
        **config.handling(),
    )
    with Workplace(config.cluster) as workplace:
        return clean(config, "train", parts, decoder, workplace)


def _with_cache(decoder: Decoder, job: Job, parts: Sequence[Part], cleaned: Cleaned) -> Decoder:
    """Looks decoded parts up on the disk where the configuration asks for that; removes a cache that is not used."""
    if job.config.train.cache != "disk":
        clear_cache(job.config.run)
        return decoder
    identity = {name: job.identity[name] for name in ("modalities", *job.learned, "tokenizer")}
    identity["label"] = decoder.target.identity if decoder.target else None
    identity["verify"] = job.config.input.verify
    if cleaned.digest:  # the same part may leave out others than before
        identity["cleaning"] = cleaned.digest
    return CachedDecoder.of(decoder, prepare_cache(job.config.run, identity, parts))


def _check_resume(job: Job) -> None:
    """Refuses a checkpoint of other targets or another tokenizer, beside what :func:`finished` has compared."""
    url = storage.join(job.config.run, CHECKPOINTS, LAST)
    if not job.resume or not storage.exists(url):
        return
    made, ours = load_checkpoint(url)["identity"], job.identity
    for name in (*job.learned, "tokenizer"):
        if made.get(name) != ours[name]:
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
            f"training failed: {redact(cause)[:300]}",
            where=config.run,
            fix="see the log above; train.resume=true continues from the last checkpoint",
        ) from error


def _seal(job: Job, num_parts: int) -> Bundle:
    """Makes the bundle of the best checkpoint."""
    from safetensors.torch import save

    config = job.config
    best = load_checkpoint(storage.join(config.run, CHECKPOINTS, BEST))
    last = load_checkpoint(storage.join(config.run, CHECKPOINTS, LAST))
    row = best["metrics"]
    kept: Kept = {
        "epoch": int(row["epoch"]),
        "of": len(last["history"]),
        "chosen_by": config.require_objective().score.column(row),
    }
    by_validation = kept["chosen_by"].startswith("val_")
    logger.log(logging.INFO if by_validation else logging.WARNING, "kept %s", kept_epoch(kept))
    weights = {name: value.contiguous() for name, value in best["weights"].items()}
    chosen = "val_" if by_validation else "train_"
    return Bundle(
        objective=config.require_objective().model_dump(mode="json"),
        modalities=config.modalities,
        learned={**job.learned, **best.get("learned", {})},
        tokenizer=job.tokenizer,
        metrics={name: value for name, value in row.items() if name.startswith(chosen)},
        training={
            "settings": settings_of(config)["train"],
            "ranges": last["ranges"],
            "kept": kept,
            "recipe": job.recipe,
            "shards": shards_of(config),
            "samples": job.num_samples,
            "parts": num_parts,
            "versions": {
                "pipeline": __version__,
                "python": platform.python_version(),
                "ray": ray.__version__,
                "torch": str(torch.__version__),
            },
        },
        weights=save(weights),
    )


def _absolute(url: str) -> str:
    return str(Path(storage.local_path(url)).absolute()) if storage.is_local(url) else url
