"""Gathers what the report of a run shows: the data, what was quarantined, the history, the evaluation, examples."""

from __future__ import annotations

import datetime
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.cleaning.report import CleaningReport
from pipeline.config import SPLITS, Config, to_yaml
from pipeline.engine.cleaning.signing import FOLDER as SIGNATURES
from pipeline.engine.decoding.decoded_folder import (
    is_decoded,
    num_rows,
    read_labels,
    read_modalities,
)
from pipeline.engine.plans.augmented import augmented_samples
from pipeline.engine.plans.environment import environment
from pipeline.engine.plans.evaluate import METRICS, PREDICTIONS
from pipeline.engine.plans.examples import (
    JudgedExamples,
    first_examples,
    judged_examples,
    parts_of,
    samples_of,
    target_text,
)
from pipeline.engine.plans.prepare import ensure_tokenizer
from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.targets import Target, fields_at
from pipeline.models.bundle import MANIFEST, check_classes
from pipeline.models.record import SIZED_FOR, Kept
from pipeline.reports.content import QuarantineRow, ReportData, SplitCounts
from pipeline.runs import METRICS_LOG, SUMMARY
from pipeline.sample import KEY, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import read_quarantine
from pipeline.training.stages import bottleneck

MAX_COUNTED = 100_000  # samples of a split that are counted
JOB_FOLDERS = ("", "decoded", "embeddings", "evaluation")  # of the run; each may have a quarantine
SHOWN = tuple(member.name for member in fields(QuarantineRow))  # of a quarantine row
CLEANED_JOBS = ("preprocess", "train", "infer", "evaluate")


def gather(config: Config, config_path: str) -> ReportData:
    """Reads a run folder and its shards.

    Args:
        config: The whole configuration.
        config_path: Its file, for the commands that the page shows.
    """
    target = config.objective.targets() if config.objective else None
    section = config.objective.section() if config.objective else None
    metrics = _json(storage.join(config.folder("evaluation"), METRICS))
    evaluation = EvaluationRecord.from_json(metrics) if metrics is not None else None
    predicted = _predictions(config) if evaluation is not None else None
    config = _with_encoders_of_its_model(config)
    decoder = Decoder.build(config.modalities, ensure_tokenizer(config, "train"))
    parts = {
        split: parts_of(patterns, f"input.{split}")
        for split in SPLITS
        if (patterns := getattr(config.input, split))
    }
    quarantine = [
        row
        for folder in JOB_FOLDERS
        for row in read_quarantine(_folder(config, folder)).to_pylist()
    ]
    unique = {
        (row[SHARD], row[KEY], row["reason"]): QuarantineRow(**{name: row[name] for name in SHOWN})
        for row in quarantine
    }
    first = next(iter(parts), None)
    examples = first_examples(parts[first], first, config, decoder, target) if first else []
    judged = JudgedExamples()
    if section is not None and evaluation is not None and predicted is not None:
        chosen = section.choose(predicted, evaluation, config.report.num_examples)
        judged = judged_examples(config, decoder, evaluation, chosen)
    history = _lines(storage.join(config.run, METRICS_LOG))
    return ReportData(
        title=storage.local_path(config.run).name,
        generated=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        config_path=config_path,
        summary=_summaries(config),
        splits={name: _count(split, decoder, target) for name, split in parts.items()},
        quarantine=list(unique.values()),
        filters=_filters(config),
        cleaning=_cleaning(config),
        examples=[*examples, *judged.examples],
        not_shown=judged.missing,
        augmented=augmented_samples(config, decoder, parts.get("train", [])),
        history=history,
        time_spent=bottleneck(history),
        kept=_kept(config),
        section=section,
        evaluation=evaluation,
        predicted=predicted,
        config_yaml=to_yaml(config),
        environment=environment(),
    )


def _with_encoders_of_its_model(config: Config) -> Config:
    """The configuration with what the run's model knows of pretrained encoders, whose files may be gone."""
    bundle = _json(storage.join(config.folder("model"), MANIFEST))
    if bundle is None:
        return config
    check_classes(bundle, config.plugged(), config.folder("model"))
    return config.with_encoders(
        ModalitiesConfig.model_validate(bundle["modalities"]),
        bundle["training"].get("recipe", {}).get(SIZED_FOR),
    )


def _kept(config: Config) -> Kept | None:
    """Which epoch the run's model has the weights of; None before there is one that says so."""
    bundle = _json(storage.join(config.folder("model"), MANIFEST))
    kept: Kept | None = ((bundle or {}).get("training") or {}).get("kept")
    return kept


def _filters(config: Config) -> dict[str, object]:
    """The limits that are set, as ``modality.limit`` -> value."""
    return {
        f"{name}.{limit}": ", ".join(value) if isinstance(value, tuple) else value
        for name, section in config.modalities.by_name().items()
        for limit, value in section.filter
        if value is not None
    }


def _cleaning(config: Config) -> list[CleaningReport]:
    """What the jobs of this run found that looked for copies, as the configuration still asks for it."""
    if not config.cleaning.active:
        return []
    reports = (_json(storage.join(config.run, SIGNATURES, f"{job}.json")) for job in CLEANED_JOBS)
    return [CleaningReport.from_json(report) for report in reports if report is not None]


def _folder(config: Config, name: str) -> str:
    return config.folder(name) if name else config.run


def _count(parts: Sequence[Part], decoder: Decoder, target: Target | None) -> SplitCounts:
    """Samples, labels and modalities of a split, from its headers and labels, or from the columns of a folder."""
    labels: Counter[str] = Counter()
    modalities: Counter[str] = Counter()
    num_samples = 0
    for part in filter(is_decoded, parts):
        num_samples += num_rows([part])
        labels.update(read_labels(part) if target else [])
        modalities.update(name for row in read_modalities(part) for name in row)
    needed = fields_at(target.places if target else ())
    for sample in itertools.islice(samples_of(parts, decoder.limits, needed), MAX_COUNTED):
        num_samples += 1
        modalities.update(
            name for name, fields in decoder.fields.items() if sample.fields.keys() & set(fields)
        )
        labels.update(text for text in [target_text(sample, target)] if text is not None)
    return SplitCounts(num_samples, labels, modalities)


def _predictions(config: Config) -> pa.Table | None:
    """The rows that evaluate wrote; None where they are not there."""
    url = storage.join(config.folder("evaluation"), PREDICTIONS)
    if not storage.exists(url):
        return None
    return pq.read_table(pa.BufferReader(storage.read_bytes(url)))


def _summaries(config: Config) -> dict[str, float | int | str]:
    """The run's own summary where a job such as the demo wrote one, else those of its jobs."""
    whole = _json(storage.join(config.run, SUMMARY))
    jobs = {
        name: _json(storage.join(config.folder(name), SUMMARY))
        for name in ("model", "embeddings", "evaluation")
    }
    numbers: dict[str, float | int | str] = {}
    for name, found in jobs.items():
        if found is not None:
            numbers[f"{name} seconds"] = found["seconds"]
            numbers[f"{name} samples per second"] = found["samples_per_second"]
    if whole is not None:
        numbers["seconds"] = whole["seconds"]
    elif numbers:
        numbers["seconds"] = sum(found["seconds"] for found in jobs.values() if found)
    return numbers


def _json(url: str) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = json.loads(storage.read_bytes(url))
    except FileNotFoundError:
        return None
    return values


def _lines(url: str) -> list[dict[str, float]]:
    try:
        text = storage.read_bytes(url).decode()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]
