"""Preprocessing: decoded samples into Parquet, and their statistics."""

from __future__ import annotations

import json

from pipeline import __version__, runs, storage
from pipeline.config import Config
from pipeline.engine.cleaning.clean import cleaning_of
from pipeline.engine.decoding.decoded_folder import KIND, TOKENIZER, VERSION, tokenizer_digest
from pipeline.engine.executors.batch import BatchJob
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.checks import second_column
from pipeline.engine.plans.prepare import ensure_tokenizer, plan_parts
from pipeline.errors import ConfigError
from pipeline.metrics.statistics import Measure, statistics
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.noted import modalities_as_noted
from pipeline.sample import KEY, LABEL, MODALITIES, ORDINAL, SHARD
from pipeline.sinks.base import Sink
from pipeline.sinks.origin import Origin
from pipeline.sinks.output import Output
from pipeline.sinks.provenance import noted_identity

STATISTICS = "stats.json"


def preprocess_job(config: Config, workplace: Workplace) -> BatchJob:
    """The decoding that a configuration describes.

    Args:
        config: The whole configuration.
        workplace: Who does the work.

    Raises:
        ConfigError: A metadata field is called as another column.
    """
    tokenizer = ensure_tokenizer(config, config.preprocess.input)
    decoder = Decoder.build(
        config.modalities,
        tokenizer,
        metadata=config.input.metadata,
        target=config.objective.targets() if config.objective else None,
        target_optional=True,
        **config.handling(),
    )
    sink = _sink(config, decoder, tokenizer)
    return BatchJob(
        name="preprocess",
        parts=plan_parts(
            config,
            config.preprocess.input,
            "preprocess.input",
            tokenizer=tokenizer,
            metadata=config.input.metadata,
            known=sink.recorded(),
            workplace=workplace,
        ),
        decoder=decoder,
        sink=sink,
        workplace=workplace,
        clean=cleaning_of(config, "preprocess", config.preprocess.input, decoder, workplace),
    )


def write_statistics(config: Config, job: BatchJob, output: str) -> str:
    """Writes stats.json, the same bytes whatever ran when and where; returns its location.

    Args:
        config: The whole configuration.
        job: A job that has run.
        output: The folder.
    """
    job.add_recorded()
    described = statistics(job.sums, job.decoder.schema, config.modalities.measures())
    url = storage.join(output, STATISTICS)
    storage.write_bytes(url, json.dumps(described, indent=1, ensure_ascii=False).encode() + b"\n")
    return url


def _sink(config: Config, decoder: Decoder, tokenizer: str | None) -> Sink:
    if config.sink.copies_members:
        raise ConfigError(
            "preprocess writes decoded arrays, which training reads again, and no members of samples",
            where=f"sink.kind={config.sink.kind}",
            fix="set sink.kind to parquet",
        )
    measure = Measure(config.modalities.measures(), labelled=decoder.target is not None)
    columns = (*([LABEL] if decoder.target else []), *decoder.codecs)
    if config.sink.keeps_rows:
        for name in {KEY, SHARD, MODALITIES, *columns} & set(decoder.metadata):
            raise second_column(name)
    folder = config.folder("decoded", config.preprocess.output)
    modalities, noted = config.modalities, noted_identity(folder) or {}
    identity = {
        "kind": KIND,
        "version": VERSION,
        "modalities": modalities_as_noted(
            modalities, modalities.decoding(), noted.get("modalities", {})
        ),
        "metadata": list(decoder.metadata),
        "label": decoder.target.identity if decoder.target else None,
        "tokenizer": tokenizer_digest(tokenizer),
        **config.cleaning.identity(training=config.preprocess.input == "train"),
    }
    output = Output(
        folder,
        identity,
        footer={"config": runs.fingerprint(identity), "pipeline_version": __version__},
        columns=columns,
        order=(ORDINAL,),  # as in the shard, so that training on the folder sees the same order
        measure=measure,
        keep_statistics=True,
        attachments={} if tokenizer is None else {TOKENIZER: tokenizer.encode()},
        origin=Origin.of(
            config.patterns(config.preprocess.input, "preprocess.input"), config.input.max_samples
        ),
        replace=config.preprocess.replace,
        replacing="preprocess.replace",
        remedy="choose another preprocess.output",
    )
    return config.sink.build(output)
