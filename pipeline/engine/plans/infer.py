"""Batch inference: what a model makes of shards, in Parquet."""

from __future__ import annotations

import itertools
from typing import Any

from pipeline import __version__, runs
from pipeline.config import Config
from pipeline.engine.cleaning.clean import cleaning_of
from pipeline.engine.decoding.decoded_folder import split_input
from pipeline.engine.executors.batch import BatchJob
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.infer.predictors import model_spec, precision_of, predictor_pool
from pipeline.engine.plans.prepare import plan_parts
from pipeline.errors import ConfigError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.noted import modalities_as_noted
from pipeline.nightly.drift import Profile
from pipeline.prediction.spec import Model, open_model
from pipeline.sinks.base import Sink
from pipeline.sinks.origin import Origin
from pipeline.sinks.output import Output
from pipeline.sinks.provenance import noted_identity


def with_version(config: Config, *, follows: bool = False) -> Config:
    """The configuration with the output that ``infer.new_version`` asks for.

    It is the first of OUTPUT, OUTPUT-v2, OUTPUT-v3 that is not there yet, or whose rows were made with these settings
    from this input: a job that is run again goes on where it was.

    Args:
        config: The whole configuration.
        follows: Whether the job follows its input, so that the rows may be of any.
    """
    if not config.infer.new_version or not config.sink.keeps_rows:
        return config
    model = open_model(model_spec(config))
    first = config.folder("embeddings", config.infer.output)
    for number in itertools.count(1):
        output = first if number == 1 else f"{first.rstrip('/')}-v{number}"
        provenance = _output(config, model, output).provenance
        if not provenance.difference() and (follows or provenance.same_patterns()):
            break
    return config.model_copy(update={"infer": config.infer.model_copy(update={"output": output})})


def inference_sink(config: Config, model: Model, output: str, partition: str = "") -> Sink:
    """The sink of a model's predictions."""
    return config.sink.build(_output(config, model, output, partition))


def _output(config: Config, model: Model, folder: str, partition: str = "") -> Output:
    noted = (noted_identity(folder) or {}).get("modalities", {})
    identity: dict[str, Any] = {
        "model": model.fingerprint,
        "modalities": modalities_as_noted(model.modalities, model.decoding(), noted),
        "metadata": list(config.input.metadata),
        "float16": config.infer.float16,
        "precision": precision_of(config),
        **({"seed": config.infer.seed} if model.draws else {}),
        **config.sink.identity,
        **config.cleaning.identity(training=config.infer.input == "train"),
    }
    footer = {
        "model": model.fingerprint,
        "config": runs.fingerprint(identity),
        "pipeline_version": __version__,
        **model.footer,
    }
    columns = tuple(column.name for column in model.fields)
    return Output(
        folder,
        identity,
        footer,
        columns,
        measure=Profile(columns, model.summary),
        partition=partition,
        origin=Origin.of(
            config.patterns(config.infer.input, "infer.input"), config.input.max_samples
        ),
        replace=config.infer.replace,
        replacing="infer.replace",
        remedy="choose another infer.output, set infer.new_version=true to write beside it",
    )


def inference_job(config: Config, workplace: Workplace, partition: str = "") -> BatchJob:
    """The batch inference that a configuration describes.

    The model says how samples are decoded, and the configuration which are left out: a bundle may be asked about
    samples that its training went without.

    Args:
        config: The whole configuration.
        workplace: Who does the work.
        partition: Folder in the output that new rows go to.

    Raises:
        ConfigError: No such encoder, or an input that it cannot read.
        ModelError: No model, or one that does not fit the configuration.
    """
    model = open_model(model_spec(config))
    config = config.with_encoders(model.modalities, model.sized_for)
    decoder = model.decoder(metadata=config.input.metadata, **config.handling())
    _check_input(config, model)
    output = config.folder("embeddings", config.infer.output)
    sink = inference_sink(config, model, output, partition)
    return BatchJob(
        name="infer",
        parts=plan_parts(
            config,
            config.infer.input,
            "infer.input",
            tokenizer=model.tokenizer,
            metadata=config.input.metadata,
            known=sink.recorded(),
            workplace=workplace,
        ),
        decoder=decoder,
        sink=sink,
        workplace=workplace,
        pool=lambda resources: predictor_pool(config, resources, model),
        retry=config.infer.retry_quarantined,
        fingerprint=model.fingerprint,
        keep_deleted=config.nightly.deleted == "keep",
        clean=cleaning_of(
            config, "infer", config.infer.input, _comparing(config, model, decoder), workplace
        ),
    )


def _comparing(config: Config, model: Model, decoder: Decoder) -> Decoder:
    """How samples are decoded to be compared with each other: as configured, whatever an encoder makes of them."""
    if model.description is None:
        return decoder
    unused = ""  # texts are compared as texts
    return Decoder.build(
        config.modalities, unused, metadata=config.input.metadata, **config.handling()
    )


def _check_input(config: Config, model: Model) -> None:
    """Refuses what preprocess wrote, where shards are needed: by the model, or by the sink."""
    folders, _ = split_input(config.patterns(config.infer.input, "infer.input"))
    if folders and config.sink.copies_members:
        raise ConfigError(
            f"sink.kind={config.sink.kind} copies the members of samples, and preprocessed rows have none",
            where=f"infer.input={config.infer.input}",
            fix="set infer.input to the shards, or sink.kind to parquet",
        )
    if folders and model.description is not None:
        raise ConfigError(
            "a model that is no bundle reads shards: preprocessed rows are no longer what it looks at",
            where=f"infer.input={config.infer.input}",
            fix="set infer.input to the shards",
        )
