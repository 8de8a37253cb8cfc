"""Judges a bundle on a labelled split, with every subset of its modalities."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from pipeline.engine.train.record import seen_in_training
from pipeline.errors import BadDataError, ConfigError
from pipeline.metrics.evaluation import evaluate_predictions, subset_name, summary_metrics
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.bundle import Bundle
from pipeline.models.record import seen_in_words
from pipeline.objectives import objective_of
from pipeline.prediction.spec import BundleModel, ModelSpec
from pipeline.runs import Summary, process_clock
from pipeline.sample import ERROR, KEY, LABEL, MODALITIES, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import clear_quarantine, write_quarantine

logger = logging.getLogger(__name__)

METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        metrics: The content of metrics.json.
        correct: (N,) bool, the samples that the whole model got right, in the order of shard and key.
        labels: (N,) int64 class ids.
        present: Modality -> (N,) bool.
    """

    metrics: dict[str, Any]
    correct: np.ndarray
    labels: np.ndarray
    present: dict[str, np.ndarray]


def evaluate(config: Config, workplace: Workplace, summary: Summary, output: str) -> Evaluation:
    """Predicts a split with each subset of the modalities, and writes metrics and predictions.

    Args:
        config: The whole configuration.
        workplace: Who does the work.
        summary: Counts are added to it.
        output: Folder written to; what an earlier evaluation left is replaced.

    Raises:
        BadDataError: No sample could be judged.
    """
    spec = model_spec(config)
    if spec.pretrained:
        raise ConfigError(
            "a pretrained encoder gives embeddings, and no predictions that could be judged",
            where=f"infer.model={spec.model}",
            fix="leave infer.model out to judge RUN/model, or name another bundle",
        )
    bundle = BundleModel.open(spec).bundle
    parts = plan_parts(
        config,
        config.evaluate.input,
        "evaluate.input",
        label=objective_of(bundle).label,
        tokenizer=bundle.tokenizer,
        workplace=workplace,
    )
    decoder = Decoder.build(
        bundle.modalities.for_job(config.modalities),
        bundle.tokenizer,
        label=objective_of(bundle).label,
        classes=bundle.classes,
        **config.handling(),
    )
    split = config.evaluate.input if isinstance(config.evaluate.input, str) else "input"
    cleaned = clean(config, "evaluate", {split_name(split): parts}, decoder, workplace)
    [parts] = cleaned.parts.values()
    clear_quarantine(output)
    subsets = modality_subsets(tuple(decoder.codecs))
    summary.first_sample = process_clock()
    executor = workplace.executor(len(parts))
    pool = predictor_pool(config, executor.resources)
    load = partial(_PredictSubsets, pool.spec, subsets)
    stage = Stage("evaluate", decoder, handed_over, pool, load)
    table = _predict(parts, executor, stage, output, summary)
    if not table.num_rows:
        raise BadDataError(
            "no sample could be judged",
            where=str(config.evaluate.input),
            fix=f"see {storage.join(output, '_quarantine')} for the reasons",
        )
    ids = {name: index for index, name in enumerate(bundle.classes)}
    labels = np.array([ids[label] for label in table[LABEL].to_pylist()], dtype=np.int64)
    present = {
        name: np.array([name in row for row in table[MODALITIES].to_pylist()])
        for name in decoder.codecs
    }
    probabilities = {name: _matrix(table[name], len(bundle.classes)) for name in subsets}
    metrics = evaluate_predictions(
        bundle.classes,
        labels,
        probabilities,
        present,
        seed=config.evaluate.seed,
        num_bootstrap=config.evaluate.num_bootstrap,
        split=split,
    )
    seen = seen_in_training(bundle, config.patterns(config.evaluate.input, "evaluate.input"))
    if seen:
        metrics["seen_in_training"] = seen
        logger.warning("%s", seen_in_words(seen))
    everything = probabilities[subset_name(decoder.codecs)]
    _write_predictions(table, everything, bundle, output)
    write_metrics(metrics, output)
    summary.parts_done = len(parts)
    summary.fingerprint = bundle.fingerprint
    summary.metrics |= summary_metrics(metrics) | cleaned.metrics
    summary.metrics |= {"shards_seen_in_training": sum(seen.values()) - seen["of"]} if seen else {}
    if cleaned.report:
        summary.report["cleaning"] = cleaned.report
    return Evaluation(metrics, everything.argmax(axis=1) == labels, labels, present)


def write_metrics(metrics: dict[str, Any], output: str) -> None:
    """Writes metrics.json."""
    text = json.dumps(metrics, ensure_ascii=False, indent=1)
    storage.write_bytes(storage.join(output, METRICS), text.encode())


def modality_subsets(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Every subset of the modalities but the empty one: name, joined by ``+``, -> modalities."""
    sizes = range(1, len(names) + 1)
    found = itertools.chain.from_iterable(itertools.combinations(names, size) for size in sizes)
    return {subset_name(subset): subset for subset in found}


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
    whole = pa.concat_tables(tables).combine_chunks()
    return whole.sort_by([(SHARD, "ascending"), ("ordinal", "ascending")])


class _PredictSubsets:
    """Replaces a block's modalities by one column of probabilities for each subset of them."""

    def __init__(self, spec: ModelSpec, subsets: dict[str, tuple[str, ...]]) -> None:
        from pipeline.prediction.bundle import BundlePredictor

        self.predictor = BundlePredictor(spec)
        self.subsets = subsets

    def __call__(self, table: pa.Table) -> pa.Table:
        good = ~table[ERROR].is_valid().to_numpy()
        kept = table.filter(pa.array(good))
        classes = len(self.predictor.classes)
        kind = pa.list_(pa.float32(), classes)
        result = table.drop_columns(list(self.predictor.codecs))
        for name, subset in self.subsets.items():
            values = np.zeros((len(good), classes), dtype=np.float32)
            if kept.num_rows:
                values[good] = self.predictor.predict(kept, subset)["probabilities"]
            column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)
            result = result.append_column(pa.field(name, kind), column)
        return result


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    values: np.ndarray = np.concatenate(
        [chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks]
    )
    return values


def _write_predictions(
    table: pa.Table, probabilities: np.ndarray, bundle: Bundle, output: str
) -> None:
    best = probabilities.argmax(axis=1)
    kind = pa.list_(pa.float32(), probabilities.shape[1])
    columns = {
        KEY: table[KEY],
        SHARD: table[SHARD],
        MODALITIES: table[MODALITIES],
        LABEL: table[LABEL],
        "prediction": pa.array([bundle.classes[index] for index in best]),
        "score": pa.array(probabilities[np.arange(len(best)), best]),
        "probabilities": pa.FixedSizeListArray.from_arrays(
            pa.array(probabilities.reshape(-1)), type=kind
        ),
    }
    with storage.create(storage.join(output, PREDICTIONS)) as file:
        pq.write_table(pa.table(columns), file, compression="zstd")
