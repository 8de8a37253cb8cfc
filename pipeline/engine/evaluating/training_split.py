"""What a model says of the split that it was trained on, for evaluations that fit something on it."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Config
from pipeline.engine.executors.base import Executor, Stage
from pipeline.engine.plans.predictions import unpacked
from pipeline.engine.plans.prepare import plan_parts
from pipeline.engine.train.record import seen_in_training
from pipeline.errors import PipelineError
from pipeline.models.bundle import Bundle
from pipeline.objectives.evaluation import TrainingSplit
from pipeline.sample import ERROR, LABEL, SHARD
from pipeline.shards.planning.plan import Part

logger = logging.getLogger(__name__)

PART_SAMPLES = 1000  # taken for the size of a part that planning has not counted


def training_split(
    config: Config,
    bundle: Bundle,
    stage: Stage[pa.Table],
    executor: Executor,
    subset: str,
) -> TrainingSplit | None:
    """Predicts at most ``evaluate.probe_samples`` samples of ``input.train``, drawn at random.

    Samples that cannot be read are left out: training has counted them.

    Args:
        config: The whole configuration.
        bundle: The model.
        stage: What is done with each part of the judged split.
        executor: Does it.
        subset: The column of the stage's tables that has the predictions of whole samples.

    Returns:
        None where there is no training split, where it cannot be read, or where the judged split is of it.
    """
    count, seed = config.evaluate.probe_samples, config.evaluate.seed
    judged = config.patterns(config.evaluate.input, "evaluate.input")
    if not count or config.input.train is None or judged == config.input.train:
        return None
    if "train" in seen_in_training(bundle, judged):
        return None
    target = stage.decoder.target
    try:
        parts = plan_parts(
            config, "train", "input.train", target=target, tokenizer=bundle.tokenizer
        )
        tables = list(executor.run(some(parts, count, seed), stage))
    except PipelineError as error:
        logger.warning(
            "probes are not fitted on the training split, which cannot be read: %s", error
        )
        return None
    table = pa.concat_tables(tables).combine_chunks()
    good = table.filter(pc.invert(table[ERROR].is_valid()))
    if not good.num_rows:
        return None
    table = drawn(good.sort_by([(SHARD, "ascending"), ("ordinal", "ascending")]), count, seed)
    return TrainingSplit(table[LABEL].to_pylist(), unpacked(table[subset]))


def some(parts: Sequence[Part], num_samples: int, seed: int) -> list[Part]:
    """Parts drawn at random until they hold that many samples; all where that is no more."""
    chosen, count = list(parts), 0
    random.Random(seed).shuffle(chosen)
    for index, part in enumerate(chosen):
        count += part.num_samples or PART_SAMPLES
        if count >= num_samples:
            return chosen[: index + 1]
    return chosen


def drawn(table: pa.Table, num_samples: int, seed: int) -> pa.Table:
    """At most that many rows, drawn at random."""
    if table.num_rows <= num_samples:
        return table
    chosen = np.random.default_rng(seed).choice(table.num_rows, num_samples, replace=False)
    return table.take(np.sort(chosen))
