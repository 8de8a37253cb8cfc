"""Judges a bundle on a labelled split, with every subset of its modalities."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.cleaning.clean import clean, split_name
from pipeline.engine.executors.base import Executor, PartLedger, Stage, handed_over
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.infer.predictors import model_spec, predictor_pool
from pipeline.engine.plans.prepare import plan_parts
from pipeline.engine.plans.prompts import embedded_prompts
from pipeline.engine.train.record import seen_in_training
from pipeline.errors import BadDataError, ConfigError
from pipeline.metrics.subsets import subset_name
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.bundle import Bundle
from pipeline.models.record import seen_in_words
from pipeline.objectives.base import CONTENTS, EMBEDDING, Judging
from pipeline.objectives.sealed import objective_of
from pipeline.prediction.columns import good_rows, with_columns
from pipeline.prediction.spec import BundleModel, ModelSpec
from pipeline.runs import Summary, process_clock
from pipeline.safe_text.redaction import redact
from pipeline.sample import ERROR, KEY, LABEL, MODALITIES, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import clear_quarantine, write_quarantine

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
    config = config.with_encoders(bundle.modalities)
    objective = objective_of(bundle)
    split, patterns = judged_as(config)
    parts, decoder = _labelled(config, bundle, workplace)
    cleaned = clean(
        config, "evaluate", {split_name(config.evaluate.input): parts}, decoder, workplace
    )
    [parts] = cleaned.parts.values()
    clear_quarantine(output)
    judging = Judging(split, config.evaluate.seed, config.evaluate.num_bootstrap)
    evaluation = objective.evaluation(bundle.learned, judging)
    if config.evaluate.prompts:
        objective.prompted(evaluation, partial(embedded_prompts, config, model_spec(config)))
    whole = subset_name(decoder.codecs)
    subsets = modality_subsets(tuple(decoder.codecs))
    subsets = subsets if evaluation.by_subset else {whole: subsets[whole]}
    summary.first_sample = process_clock()
    executor = workplace.executor(len(parts))
    pool = predictor_pool(config, executor.resources)
    needed = tuple(evaluation.columns), evaluation.by_content
    load = partial(_PredictSubsets, pool.spec, subsets, *needed)
    stage = Stage("evaluate", decoder, handed_over, pool, load)
    table = _predict(parts, executor, stage, output, summary)
    if not table.num_rows:
        raise BadDataError(
            "no sample could be judged",
            where=str(config.evaluate.input),
            fix=f"see {storage.join(output, '_quarantine')} for the reasons",
        )
    predictions = {name: _unpacked(table[name]) for name in subsets}
    contents = [_contents(table)] if evaluation.by_content else []
    present = _present(table, tuple(decoder.codecs))
    evaluation.update(table[LABEL].to_pylist(), predictions, present, *contents)
    seen = seen_in_training(bundle, config.patterns(config.evaluate.input, "evaluate.input"))
    if seen:
        logger.warning("%s", seen_in_words(seen))
    record = replace(evaluation.compute(), input=patterns, seen_in_training=seen or None)
    truth = objective.truth(table[LABEL].combine_chunks())
    _write_predictions(table, truth, predictions[whole], output)
    write_metrics(record.to_json(), output)
    summary.parts_done = len(parts)
    summary.fingerprint = bundle.fingerprint
    summary.metrics |= objective.flat(record) | cleaned.metrics
    summary.metrics |= {"shards_seen_in_training": sum(seen.values()) - seen["of"]} if seen else {}
    if cleaned.report:
        summary.report["cleaning"] = cleaned.report.to_json()


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


def _labelled(config: Config, bundle: Bundle, workplace: Workplace) -> tuple[list[Part], Decoder]:
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
    decoder = Decoder.build(
        bundle.modalities.for_job(config.modalities),
        bundle.tokenizer,
        target=target,
        **config.handling(),
    )
    return parts, decoder


def predictions_of_both(first: str, second: str) -> tuple[pa.Table, pa.Table]:
    """The predictions in two evaluation folders for the samples that both have judged, in the same order."""
    tables = [
        pq.read_table(str(storage.local_path(storage.join(folder, PREDICTIONS))))
        for folder in (first, second)
    ]
    rows_by_sample = [
        {
            name: row
            for row, name in enumerate(
                zip(table[SHARD].to_pylist(), table[KEY].to_pylist(), strict=True)
            )
        }
        for table in tables
    ]
    both = sorted(rows_by_sample[0].keys() & rows_by_sample[1].keys())
    ours, theirs = (
        table.take([rows[name] for name in both])
        for table, rows in zip(tables, rows_by_sample, strict=True)
    )
    return ours, theirs


def modality_subsets(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Every subset of the modalities but the empty one: name, joined by ``+``, -> modalities."""
    sizes = range(1, len(names) + 1)
    subsets = itertools.chain.from_iterable(itertools.combinations(names, size) for size in sizes)
    return {subset_name(subset): subset for subset in subsets}


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


class _PredictSubsets:
    """Replaces a block's modalities by one column of predictions, structs, for each subset of them.

    Args:
        spec: The model.
        subsets: Name -> modalities.
        columns: The predictions that are needed of every subset; of all modalities together, all but the embedding are.
        by_content: Whether a column says which samples are equal in which modality.
    """

    def __init__(
        self,
        spec: ModelSpec,
        subsets: Mapping[str, Sequence[str]],
        columns: Sequence[str],
        by_content: bool = False,
    ) -> None:
        from pipeline.prediction.bundle import BundlePredictor

        self.predictor = BundlePredictor(spec)
        self.subsets, self.columns, self.by_content = subsets, columns, by_content

    def __call__(self, table: pa.Table) -> pa.Table:
        good = good_rows(table)
        samples = table.filter(pa.array(good))
        schema = pa.schema(field for field in self.predictor.fields if field.name != EMBEDDING)
        fields, columns = [], []
        for name, subset in self.subsets.items():
            complete = len(subset) == len(self.predictor.codecs)
            names = schema.names if complete else self.columns
            kind = pa.struct([schema.field(column) for column in names])
            fields.append(pa.field(name, kind))
            if samples.num_rows:
                rows = self.predictor.rows(samples, subset).select(names).combine_chunks()
                columns.append(rows.to_struct_array().combine_chunks())
        if self.by_content:
            fields.append(
                pa.field(
                    CONTENTS, pa.struct([(name, pa.int64()) for name in self.predictor.codecs])
                )
            )
            if samples.num_rows:
                columns.append(self._contents(samples))
        predicted = pa.Table.from_arrays(columns, schema=pa.schema(fields)) if columns else None
        return with_columns(table, self.predictor.codecs, fields, predicted)

    def _contents(self, samples: pa.Table) -> pa.StructArray:
        from pipeline.models.batch import contents_of

        digests = contents_of(samples, self.predictor.codecs)
        return pa.StructArray.from_arrays(list(map(pa.array, digests.values())), list(digests))


def _present(table: pa.Table, modalities: Sequence[str]) -> dict[str, np.ndarray]:
    """Modality -> (N,) bool."""
    rows = table[MODALITIES].to_pylist()
    return {name: np.array([name in row for row in rows]) for name in modalities}


def _contents(table: pa.Table) -> dict[str, np.ndarray]:
    """Modality -> (N,) int64."""
    digests = _unpacked(table[CONTENTS])
    return {name: digests[name].to_numpy() for name in digests.column_names}


def _unpacked(column: pa.ChunkedArray) -> pa.Table:
    """Structs without nulls as a table."""
    return pa.Table.from_struct_array(column.combine_chunks())


def _write_predictions(table: pa.Table, truth: pa.Array, predicted: pa.Table, output: str) -> None:
    columns = {name: table[name] for name in (KEY, SHARD, MODALITIES)} | {LABEL: truth}
    columns |= {name: predicted[name] for name in predicted.column_names}
    columns |= {CONTENTS: table[CONTENTS]} if CONTENTS in table.column_names else {}
    with storage.create(storage.join(output, PREDICTIONS)) as file:
        pq.write_table(pa.table(columns), file, compression="zstd")
