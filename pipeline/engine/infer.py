"""Batch inference: a model's predictions of shards, in Parquet."""

from __future__ import annotations

import json

from pipeline import __version__, runs
from pipeline.config import Config
from pipeline.engine.batch import BatchJob
from pipeline.engine.cleaning import cleaning_of
from pipeline.engine.predict import predictor_pool
from pipeline.engine.prepare import plan_parts
from pipeline.modalities.decode import Decoder
from pipeline.models.bundle import Bundle
from pipeline.nightly.drift import Profile
from pipeline.objectives import prediction_fields
from pipeline.sinks import ParquetConfig
from pipeline.sinks.base import Sink
from pipeline.sinks.none import NoneSink
from pipeline.sinks.parquet import ParquetSink


def inference_sink(config: Config, bundle: Bundle, output: str) -> Sink:
    """The sink of a model's predictions."""
    if not isinstance(config.sink, ParquetConfig):
        return NoneSink()
    fields = prediction_fields(bundle, float16=config.infer.float16)
    identity = {
        "model": bundle.fingerprint,
        "modalities": bundle.modalities.for_job(config.modalities).decoding(exclude_none=False),
        "metadata": list(config.input.metadata),
        "float16": config.infer.float16,
        **config.cleaning.identity(training=config.infer.input == "train"),
    }
    footer = {
        "model": bundle.fingerprint,
        "config": runs.fingerprint(identity),
        "pipeline_version": __version__,
        "classes": json.dumps(list(bundle.classes), ensure_ascii=False),
    }
    columns = tuple(each.name for each in fields)
    return ParquetSink(output, config.sink, identity, footer, columns, measure=Profile())


def inference_job(config: Config) -> BatchJob:
    """The batch inference that a configuration describes.

    The bundle says how samples are decoded, and the configuration which are left out: a model may be asked about
    samples that its training went without.

    Raises:
        ModelError: No bundle, or one that does not fit the configuration.
    """
    folder = config.folder("model", config.infer.model)
    bundle = Bundle.load(folder)
    bundle.check_modalities(config.modalities, "configuration")
    decoder = Decoder.build(
        bundle.modalities.for_job(config.modalities),
        bundle.tokenizer,
        metadata=config.input.metadata,
        **config.handling(),
    )
    sink = inference_sink(config, bundle, config.folder("embeddings", config.infer.output))
    return BatchJob(
        name="infer",
        parts=plan_parts(
            config,
            config.infer.input,
            "infer.input",
            tokenizer=bundle.tokenizer,
            metadata=config.input.metadata,
            known=sink.recorded(),
        ),
        decoder=decoder,
        sink=sink,
        pool=predictor_pool(config, folder),
        retry=config.infer.retry_quarantined,
        fingerprint=bundle.fingerprint,
        keep_deleted=config.nightly.deleted == "keep",
        clean=cleaning_of(config, "infer", config.infer.input, decoder),
    )
