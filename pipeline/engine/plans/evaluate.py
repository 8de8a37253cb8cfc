"""Judges a bundle on a labelled split, with every subset of its modalities."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.cleaning.clean import Cleaned, clean, split_name
from pipeline.engine.decoding.decoded_folder import split_input
from pipeline.engine.evaluating.making import MakingJob
from pipeline.engine.evaluating.prompts import embedded_prompts
from pipeline.engine.evaluating.training_split import training_split
from pipeline.engine.executors.base import Executor, PartLedger, Stage, handed_over
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.infer.predictors import model_spec, predictor_pool
from pipeline.engine.plans.predictions import (
    Corrupting,
    PredictSubsets,
    contents,
    corrupted,
    metadata_columns,
    modality_subsets,
    presence,
    unpacked,
    values_at,
    write_predictions,
)
from pipeline.engine.plans.prepare import plan_parts
from pipeline.engine.train.record import seen_in_training
from pipeline.errors import BadDataError, ConfigError
from pipeline.evaluation.portion import JudgedSamples
from pipeline.evaluation.robustness import robustness
from pipeline.evaluation.slices import slices
from pipeline.evaluation.worsened import SampleColumns
from pipeline.metrics.subsets import subset_name
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.targets import fields_at
from pipeline.models.bundle import Bundle
from pipeline.models.record import seen_in_words
from pipeline.objectives.base import Judging, ObjectiveSection
from pipeline.objectives.evaluation import Evaluation
from pipeline.objectives.sealed import objective_of
from pipeline.prediction.spec import BundleModel
from pipeline.runs import Summary, process_clock
from pipeline.safe_text.redaction import redact
from pipeline.sample import ERROR, LABEL, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import clear_quarantine, write_quarantine

if TYPE_CHECKING:
    from pipeline.prediction.corrupted import Case

logger = logging.getLogger(__name__)

METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"


def evaluate(config: Config, workplace: Workplace, summary: Summary, output: str) -> None:
    """Predicts a split with each subset of the modalities, and writes metrics and predictions.

    Args:
        config: The whole configuration.
        workplace: Who does the work.
        summary: Counts are added to it.
        output: Folder written to; what an earlier evaluation left is replaced.

    Raises:
        BadDataError: No sample could be judged.
    """
    bundle = _bundle(config)
    config = config.with_encoders(bundle.modalities, bundle.sized_for)
    objective = objective_of(bundle)
    split, patterns = judged_as(config)
    made = MakingJob.of(config, bundle)
    parts, decoder = _labelled(config, bundle, workplace, made.places if made else ())
    named = {split_name(config.evaluate.input): parts}
    cleaned = clean(config, "evaluate", named, decoder, workplace)
    [parts] = cleaned.parts.values()
    cases = _cases(config, bundle, decoder)
    clear_quarantine(output)
    judging = Judging(split, config.evaluate.seed, config.evaluate.num_bootstrap)
    evaluation = _prompted(config, objective, objective.evaluation(bundle.learned, judging))
    whole = subset_name(decoder.codecs)
    subsets = modality_subsets(tuple(decoder.codecs), objective.SUBSETS_UP_TO)
    subsets = subsets if evaluation.by_subset else {whole: subsets[whole]}
    summary.first_sample = process_clock()
    executor = workplace.executor(len(parts))
    stage = _stage(config, decoder, parts, evaluation, subsets, executor, made)
    table = _predict(parts, executor, stage, output, summary)
    if not table.num_rows:
        raise _nothing_judged(config, output)
    predictions = {name: unpacked(table[name]) for name in subsets}
    samples = _judged_samples(bundle, judging, table, decoder, evaluation)
    equal = [] if samples.contents is None else [samples.contents]
    evaluation.update(samples.texts, predictions, samples.present, *equal)
    objective.fitted(evaluation, partial(training_split, config, bundle, stage, executor, whole))
    if made is not None:
        shown = made.found(table, samples.present, list(subsets), judging, config.limits.json_depth)
        objective.shown_made(evaluation, shown)
    seen = _seen(bundle, config)
    places = values_at(config.evaluate.slices, table, config.limits.json_depth)
    found, truth = evaluation.compute(), objective.truth(table[LABEL].combine_chunks())
    worsened = SampleColumns(objective, truth, found.to_json())
    judged = worsened.following(corrupted(table, cases, samples.present))
    record = replace(
        found,
        input=patterns,
        seen_in_training=seen or None,
        robustness=robustness(samples, predictions[whole], judged) or None,
        slices=slices(samples, predictions[whole], places) or None,
    )
    beside = {LABEL: truth, **metadata_columns(places), **worsened.columns}
    write_predictions(table, predictions[whole], beside, storage.join(output, PREDICTIONS))
    write_metrics(record.to_json(), output)
    summary.parts_done, summary.fingerprint = len(parts), bundle.fingerprint
    _tell(summary, objective.flat(record), seen, cleaned)


def _prompted(config: Config, objective: ObjectiveSection, evaluation: Evaluation) -> Evaluation:
    if config.evaluate.prompts:
        objective.prompted(evaluation, partial(embedded_prompts, config, model_spec(config)))
    return evaluation


def _tell(
    summary: Summary, metrics: Mapping[str, float], seen: Mapping[str, int], cleaned: Cleaned
) -> None:
    summary.metrics |= {**metrics, **cleaned.metrics}
    summary.metrics |= {"shards_seen_in_training": sum(seen.values()) - seen["of"]} if seen else {}
    if cleaned.report:
        summary.report["cleaning"] = cleaned.report.to_json()


def _seen(bundle: Bundle, config: Config) -> dict[str, int]:
    """See :func:`pipeline.engine.train.record.seen_in_training`; the log warns of what was."""
    seen = seen_in_training(bundle, config.patterns(config.evaluate.input, "evaluate.input"))
    if seen:
        logger.warning("%s", seen_in_words(seen))
    return seen


def judged_as(config: Config) -> tuple[str, tuple[str, ...]]:
    """What an evaluation calls its input, and the patterns of it, both without what opens signed URLs."""
    name = config.evaluate.input
    patterns = config.patterns(name, "evaluate.input")
    listed = (patterns,) if isinstance(patterns, str) else patterns
    return redact(name) if isinstance(name, str) else "input", tuple(map(redact, listed))


def write_metrics(metrics: Mapping[str, object], output: str) -> None:
    """Writes metrics.json."""
    text = json.dumps(metrics, ensure_ascii=False, indent=1)
    storage.write_bytes(storage.join(output, METRICS), text.encode())


def _bundle(config: Config) -> Bundle:
    """The bundle that is judged.

    Raises:
        ConfigError: The model is no bundle.
    """
    spec = model_spec(config)
    if spec.kind != "bundle":
        raise ConfigError(
            "a model that is no bundle gives no predictions that could be judged",
            where=f"infer.model={spec.model}",
            fix="leave infer.model out to judge RUN/model, or name another bundle",
        )
    return BundleModel.open(spec).bundle


def _labelled(
    config: Config, bundle: Bundle, workplace: Workplace, judged_by: Sequence[str]
) -> tuple[list[Part], Decoder]:
    """The parts of the split, and what decodes them with their targets, as the bundle was trained."""
    target = objective_of(bundle).targets(bundle.learned)
    parts = plan_parts(
        config,
        config.evaluate.input,
        "evaluate.input",
        target=target,
        tokenizer=bundle.tokenizer,
        workplace=workplace,
    )
    metadata = sliced_fields(config, judged_by)
    decoder = Decoder.build(
        bundle.modalities.for_job(config.modalities),
        bundle.tokenizer,
        target=target,
        metadata=metadata,
        **config.handling(),
    )
    return parts, decoder


def _cases(config: Config, bundle: Bundle, decoder: Decoder) -> list[Case]:
    """How the split is corrupted, where that is asked for.

    Raises:
        ConfigError: No modality knows a corruption that is.
    """
    settings = config.evaluate.robustness
    if not settings.corruptions:
        return []
    from pipeline.prediction.corrupted import cases

    return cases(bundle.modalities, decoder.codecs, settings.chosen)


def _stage(
    config: Config,
    decoder: Decoder,
    parts: Sequence[Part],
    evaluation: Evaluation,
    subsets: Mapping[str, Sequence[str]],
    executor: Executor,
    made: MakingJob | None,
) -> Stage[pa.Table]:
    """What is done with the parts: decoded once, and predicted as often as the evaluation asks."""
    settings, pool = config.evaluate, predictor_pool(config, executor.resources)
    corrupting = None
    if settings.robustness.corruptions:
        samples_a_part = -(-settings.robustness.max_samples // len(parts))
        corrupting = Corrupting(settings.robustness.chosen, settings.seed, samples_a_part)
    needed = tuple(evaluation.columns), evaluation.by_content
    making = None if made is None else made.for_parts(config, pool.spec, len(parts))
    load = partial(PredictSubsets, pool.spec, subsets, *needed, corrupting, making)
    return Stage("evaluate", decoder, handed_over, pool, load)


def _judged_samples(
    bundle: Bundle, judging: Judging, table: pa.Table, decoder: Decoder, evaluation: Evaluation
) -> JudgedSamples:
    return JudgedSamples(
        objective_of(bundle),
        bundle.learned,
        judging,
        table[LABEL].to_pylist(),
        presence(table, tuple(decoder.codecs)),
        contents(table) if evaluation.by_content else None,
    )


def sliced_fields(config: Config, judged_by: Sequence[str] = ()) -> tuple[str, ...]:
    """The fields that some places may be in, of those that every preprocessed folder has kept.

    Args:
        config: The whole configuration, of whose ``evaluate.slices`` they are.
        judged_by: Further places, at which a judge's truth stands.

    Raises:
        ConfigError: A folder has kept none that a place may be in.
    """
    wanted = (*config.evaluate.slices, *judged_by)
    names = sorted(fields_at(wanted))
    for folder in split_input(config.patterns(config.evaluate.input, "evaluate.input"))[0]:
        names = [name for name in names if name in folder.identity["metadata"]]
        for place in wanted:
            if not fields_at([place]).intersection(names):
                folder.check("evaluate.input", [place])
    return tuple(names)


def _predict(
    parts: Sequence[Part],
    executor: Executor,
    stage: Stage[pa.Table],
    output: str,
    summary: Summary,
) -> pa.Table:
    """The predictions of all good samples, in the order of shard and key; bad ones go to the quarantine."""
    tables: list[pa.Table] = []
    book = PartLedger(stage.name, parts, summary)
    results = executor.run(parts, stage, book.lost)
    for table, _ in book.enter(results, partial(write_quarantine, output)):
        tables.append(table.filter(pc.invert(table[ERROR].is_valid())))
    predictions = pa.concat_tables(tables).combine_chunks()
    return predictions.sort_by([(SHARD, "ascending"), ("ordinal", "ascending")])


def _nothing_judged(config: Config, output: str) -> BadDataError:
    return BadDataError(
        "no sample could be judged",
        where=str(config.evaluate.input),
        fix=f"see {storage.join(output, '_quarantine')} for the reasons",
    )
