"""Training from shards to a sealed bundle, wherever it is done."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.cleaning.clean import Cleaned, clean
from pipeline.engine.decoding.cache import CachedDecoder, clear_cache, prepare_cache, require_local
from pipeline.engine.executors.batch import check_bad_fraction
from pipeline.engine.executors.here import HereExecutor
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.prepare import check_tokenizer, ensure_tokenizer, plan_parts
from pipeline.engine.train.decoding import GoodRows
from pipeline.engine.train.epochs_ledger import check_epochs
from pipeline.engine.train.kept import MEMORY_SHARE, KeptTables
from pipeline.engine.train.progress import read_history, training_progress
from pipeline.engine.train.record import embedded_modalities, recipe_of
from pipeline.engine.train.seal import seal
from pipeline.engine.train.statistics import training_statistics
from pipeline.engine.train.survey import check_targets, sized, survey_splits, tell_remarks
from pipeline.engine.train.trainer import Trainer
from pipeline.engine.train.worker import Job
from pipeline.errors import BadDataError, ConfigError
from pipeline.inspection.survey import Survey
from pipeline.logs import event
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.bundle import Bundle
from pipeline.models.record import CHECKPOINTS, LAST, SIZED_FOR
from pipeline.runs import Summary, Total, process_clock
from pipeline.sample import FILTERED, KEY, OUTCOME, QUARANTINED
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import (
    clear_quarantine,
    num_noted,
    read_quarantine,
)
from pipeline.training.callbacks.mlflow import require_mlflow
from pipeline.training.parts import PartRows
from pipeline.training.stages import bottleneck
from pipeline.training.state import last_checkpoint

logger = logging.getLogger(__name__)


def train(config: Config, summary: Summary) -> Bundle:
    """Trains a model, in this process or with Ray Train, and seals it in RUN/model.

    Args:
        config: The whole configuration.
        summary: Counts, times and metrics are added to it.

    Raises:
        BadDataError: More of the samples are bad than may be; no model is written.
        ConfigError: No labels, no shards, a checkpoint of other settings, or several workers in one process.
        RunError: Training failed.
    """
    config.check_training()
    config, size = sized(config)
    target = config.require_objective().targets()
    if config.train.cache == "disk":
        require_local(config.run, config.train.cache_folder)
    if "mlflow" in config.train.track:
        require_mlflow()
    with Workplace(config.cluster) as workplace:
        parts = {"train": plan_parts(config, "train", "input.train", target=target)}
        if config.input.val is not None:
            parts["val"] = plan_parts(config, "val", "input.val", target=target)
        with _trainer(config, workplace, sum(map(len, parts.values()))) as trainer:
            return _trained(config, size, parts, summary, trainer, workplace)


@contextmanager
def _trainer(config: Config, workplace: Workplace, num_parts: int) -> Iterator[Trainer]:
    """Whoever trains: this process where it has one worker and little to do, Ray Train otherwise."""
    executor = workplace.executor(num_parts, config.cluster.most_workers)
    if isinstance(executor, HereExecutor):
        from pipeline.engine.train.here import HereTrainer

        share = MEMORY_SHARE if config.train.cache == "memory" else 0.0
        with KeptTables(share * executor.resources.memory_bytes) as kept:
            yield HereTrainer(executor, kept)
    else:
        from pipeline.engine.train.on_ray import RayTrainer

        yield RayTrainer()


def _trained(
    config: Config,
    size: int | None,
    parts: Mapping[str, Sequence[Part]],
    summary: Summary,
    trainer: Trainer,
    workplace: Workplace,
) -> Bundle:
    objective = config.require_objective()
    tokenizer = ensure_tokenizer(config, "train")
    for split in parts:
        check_tokenizer(config, split, f"input.{split}", tokenizer)
    cleaned = _cleaned(config, parts, tokenizer, workplace)
    surveys = survey_splits(cleaned.parts, objective, config.limits, workplace)
    learned = {
        **objective.learn(surveys["train"].targets),
        **objective.about_inputs(config.modalities.by_name()),
    }
    objective.check_learned(learned)
    check_targets(config, surveys, learned)
    tell_remarks(objective, surveys, learned)
    job = Job(
        config=config,
        learned=learned,
        tokenizer=tokenizer,
        num_samples=surveys["train"].targets.count,
        statistics=training_statistics(config, cleaned.parts["train"], tokenizer),
        recipe={**recipe_of(config), SIZED_FOR: size},
        attempt=uuid.uuid4().hex,
        resume=config.train.resume,
    )
    _check_resume(job)
    _train(job, cleaned, surveys, summary, trainer)
    summary.parts_done = sum(map(len, cleaned.parts.values()))
    bundle = seal(job, summary.parts_done)
    bundle.save(config.folder("model"))
    summary.metrics |= cleaned.metrics
    if cleaned.report:
        summary.report["cleaning"] = cleaned.report.to_json()
    return bundle


def _train(
    job: Job,
    cleaned: Cleaned,
    surveys: Mapping[str, Survey],
    summary: Summary,
    trainer: Trainer,
) -> None:
    """Decodes and trains; the best checkpoint and the counts are what comes of it."""
    config = job.config
    clear_quarantine(config.run)
    decoder = Decoder.build(
        config.modalities,
        job.tokenizer,
        target=config.require_objective().targets(job.learned),
        **config.handling(),
    )
    everything = [part for parts in cleaned.parts.values() for part in parts]
    repeats = config.require_objective().repeats(job.learned, config.train.seed)
    rows = GoodRows(
        _with_cache(decoder, job, everything, cleaned),
        config.run,
        config.require_objective().sample_check(config.modalities.by_name(), job.learned),
        with_index=repeats is not None,
    )
    summary.first_sample = process_clock()
    earlier = len(read_history(config.run)) if job.resume else 0
    embedded = embedded_modalities(config)
    if embedded:
        event(logger, "features_kept", modalities=embedded, augmented=False)
    keep = config.train.cache == "memory" or bool(embedded)
    with training_progress(config, job.num_samples):
        splits = trainer.decode(cleaned.parts, rows, keep=keep, embedding=job if embedded else None)
        _count(config, surveys, summary)  # what is bad is known before the first epoch
        _check_rows(config, splits)
        summary.metrics |= trainer.fit(job, splits)
    num_read = sum(survey.samples for survey in surveys.values())
    epochs, bad = read_history(config.run)[earlier:], read_quarantine(config.run)
    if told := bottleneck(epochs):
        logger.info("%s", told)
    check_epochs(epochs, num_read, bad, config.run)


def _check_rows(config: Config, splits: Mapping[str, Sequence[PartRows]]) -> None:
    """Refuses a training of nothing, and workers that no lane is left for.

    Raises:
        BadDataError: No sample is good.
        ConfigError: There are more workers than lanes.
    """
    if config.cluster.most_workers > config.train.lanes:
        raise ConfigError(
            f"{config.cluster.most_workers} workers share {config.train.lanes} lanes, and some would have none",
            where="cluster.workers",
            fix=f"set train.lanes to {config.cluster.most_workers} or more",
        )
    if not any(part.num_rows for part in splits["train"]):
        raise BadDataError(
            "no training sample is left to train on",
            where="input.train",
            fix="look at RUN/_quarantine for what became of them",
        )


def _count(config: Config, surveys: Mapping[str, Survey], summary: Summary) -> None:
    """Counts what became of the samples.

    Raises:
        BadDataError: Too many are bad.
    """
    bad = read_quarantine(config.run)
    num_read = sum(survey.samples for survey in surveys.values())
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


def _cleaned(
    config: Config,
    parts: Mapping[str, Sequence[Part]],
    tokenizer: str | None,
    workplace: Workplace,
) -> Cleaned:
    """The parts without the copies that the configuration leaves out, before targets are read."""
    objective = config.require_objective()
    decoder = Decoder.build(
        config.modalities,
        tokenizer,
        target=objective.targets(objective.preset),
        **config.handling(),
    )
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
    settings = job.config.train
    cache = prepare_cache(
        job.config.run,
        identity,
        parts,
        shared=settings.cache_folder,
        max_bytes=None if settings.cache_gb is None else round(settings.cache_gb * 1e9),
    )
    return CachedDecoder.of(decoder, cache)


def _check_resume(job: Job) -> None:
    """Refuses a checkpoint of other targets or another tokenizer, beside what :func:`finished` has compared."""
    checkpoint = last_checkpoint(job.config.run) if job.resume else None
    if checkpoint is None:
        return
    url = storage.join(job.config.run, CHECKPOINTS, LAST)
    theirs, ours = checkpoint["identity"], job.identity
    for name in (*job.learned, "tokenizer"):
        if theirs.get(name) != ours[name]:
            raise ConfigError(
                f"the last checkpoint was made with other {name}",
                where=url,
                fix="restore the settings it was made with, or train without train.resume",
            )
