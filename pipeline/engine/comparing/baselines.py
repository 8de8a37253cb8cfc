"""Reads what cheap models see of two splits, and puts the models into a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import Config, Patterns
from pipeline.engine.decoding.decoded_folder import split_input
from pipeline.engine.evaluating.training_split import drawn, some
from pipeline.engine.executors.base import PartLedger, Stage
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.prepare import plan_parts
from pipeline.evaluation.baselines import Split, fitted_entrants
from pipeline.evaluation.judged import Entrant, Judged, by_sample
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.facets import CheapFeatures
from pipeline.objectives.base import Judging
from pipeline.objectives.baselines import Baselines
from pipeline.runs import Summary
from pipeline.sample import ERROR, KEY, LABEL, MODALITIES, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import clear_quarantine, write_quarantine


def baseline_entrants(
    config: Config,
    like: Judged,
    judging: Judging,
    summary: Summary,
    output: str,
) -> tuple[list[Entrant], list[str]]:
    """Cheap models of the same targets, and words on those that there are none of.

    Args:
        config: Names the splits, the modalities and how many samples are enough.
        like: A model that they are held against, whose objective and classes are theirs.
        judging: How they are judged.
        summary: Takes the counts of both splits.
        output: Folder of the quarantine.
    """
    baselines = like.objective.baselines(like.learned, config.evaluate.seed)
    features = {
        name: features
        for name, section in config.modalities.by_name().items()
        if (features := section.cheap_features()) is not None
    }
    missing = _missing(config, baselines, features)
    if missing or baselines is None:
        return [], [f"No cheap baselines stand here: {missing}."]
    clear_quarantine(output)
    with Workplace(config.cluster) as workplace:
        reading = _Reading(config, like, features, workplace, summary, output)
        train, test = reading.train(), reading.test()
    return fitted_entrants(baselines, features, train, test, like, judging), []


def _missing(
    config: Config, baselines: Baselines | None, features: Mapping[str, CheapFeatures]
) -> str:
    """Why there are no baselines; empty where there are."""
    if baselines is None:
        return "the objective has none"
    if not features:
        return "no modality has features for them"
    if config.input.train is None:
        return "input.train is not set, so there is nothing to fit them on"
    inputs = [config.input.train, config.patterns(config.evaluate.input, "evaluate.input")]
    if any(split_input(patterns)[0] for patterns in inputs):
        return "they are read from shards, and an input is what preprocess wrote"
    return ""


@dataclass(frozen=True)
class _Reading:
    """Reads splits for cheap models.

    Attributes:
        config: The whole configuration.
        like: A network of the same objective.
        features: Modality -> what a model sees of it.
        workplace: Decodes.
        summary: Takes the counts.
        output: Folder of the quarantine.
    """

    config: Config
    like: Judged
    features: Mapping[str, CheapFeatures]
    workplace: Workplace
    summary: Summary
    output: str

    def train(self) -> Split:
        """What models are fitted on: as many samples as are enough, drawn at random."""
        settings = self.config.evaluate
        parts = some(self._parts("train", "input.train"), settings.baseline_samples, settings.seed)
        return self._split(drawn(self._rows(parts), settings.baseline_samples, settings.seed))

    def test(self) -> Split:
        """What they are judged on: all of it."""
        patterns = self.config.evaluate.input
        return self._split(self._rows(self._parts(patterns, "evaluate.input")))

    def _parts(self, patterns: Patterns, where: str) -> list[Part]:
        target = self.like.objective.targets(self.like.learned)
        return plan_parts(self.config, patterns, where, target=target, workplace=self.workplace)

    def _rows(self, parts: Sequence[Part]) -> pa.Table:
        """The good samples of parts, with what the features keep of each modality, in the order of shard and key."""
        stage = Stage("baselines", self._decoder(), partial(_kept, self.features))
        book = PartLedger(stage.name, parts, self.summary)
        results = self.workplace.executor(len(parts)).run(parts, stage, book.lost)
        tables = [
            table.filter(pc.invert(table[ERROR].is_valid()))
            for table, _ in book.enter(results, partial(write_quarantine, self.output))
        ]
        return by_sample(pa.concat_tables(tables).combine_chunks())

    def _decoder(self) -> Decoder:
        handling = self.config.handling()
        decoder = Decoder.with_codecs(
            {name: each.codec for name, each in self.features.items()},
            self.config.modalities,
            on_bad_field=handling["on_bad_field"],
            limits=handling["limits"],
        )
        return replace(decoder, target=self.like.objective.targets(self.like.learned))

    def _split(self, table: pa.Table) -> Split:
        return Split(
            table.select([KEY, SHARD, MODALITIES, LABEL]),
            {name: _array(table[name]) for name in self.features},
            {name: table[name].is_valid().to_numpy() for name in self.features},
        )


def _kept(features: Mapping[str, CheapFeatures], table: pa.Table) -> pa.Table:
    """A decoded part with what the features keep of each modality in its place, null where a sample lacks it."""
    for name, each in features.items():
        column = table[name].combine_chunks()
        values, present = each.codec.collate(column)
        kept = each.extract(values)
        mask = pa.array(~np.asarray(present))
        if kept.dtype == object:
            array = pa.array(kept, pa.large_string(), mask=~np.asarray(present))
        else:
            flat = pa.array(np.ascontiguousarray(kept, np.float32).reshape(-1))
            array = pa.FixedSizeListArray.from_arrays(flat, kept.shape[1], mask=mask)
        table = table.set_column(table.column_names.index(name), name, array)
    return table


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """(N, F) float32 or (N,) texts of a column of :func:`_kept`; zeros or empty where it is null."""
    array = column.combine_chunks()
    if pa.types.is_large_string(array.type):
        return np.array([text or "" for text in array.to_pylist()], dtype=object)
    width = array.type.list_size
    flat = array.values.slice(array.offset * width, len(array) * width)
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False).reshape(len(array), width)
    return values
