"""What is compared: models, each with its rows on the same samples, its metrics, and what it cost."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.metrics.record import EvaluationRecord, SampleScores
from pipeline.objectives.base import Learned, ObjectiveSection
from pipeline.sample import KEY, LABEL, SHARD


@dataclass(frozen=True)
class Cost:
    """What a model takes; None where that is not known.

    Attributes:
        parameters: Numbers of its weights, those that are not trained included.
        training_seconds: Of all epochs, validation included.
        samples_per_second: Of the evaluation, which predicts each sample once for every subset of the modalities.
    """

    parameters: int | None = None
    training_seconds: float | None = None
    samples_per_second: float | None = None


@dataclass(frozen=True)
class Judged:
    """One model on a labelled split.

    Attributes:
        where: Its run, for errors.
        objective: What it was trained for.
        learned: What that has learned of the targets.
        record: Its evaluation.
        rows: Of ``evaluation/predictions.parquet``, in the order of shard and key.
        validation: Its score on the validation split at the epoch that was kept; None where there was none.
        cost: What it takes.
    """

    where: str
    objective: ObjectiveSection
    learned: Learned
    record: EvaluationRecord
    rows: pa.Table
    validation: float | None = None
    cost: Cost = field(default_factory=Cost)

    @property
    def scores(self) -> SampleScores | None:
        """The score of each sample; None where the objective has none."""
        return self.objective.sample_scores(self.rows, self.record.to_json())


@dataclass(frozen=True)
class Entrant:
    """A row of a comparison.

    Attributes:
        name: What the table calls it.
        models: One, or several that differ in their seed alone.
        baseline: Whether it is there to be beaten.
    """

    name: str
    models: tuple[Judged, ...]
    baseline: bool = False

    def scores(self) -> SampleScores | None:
        """The score of each sample, the mean over the models; None where the objective has none."""
        scores = [model.scores for model in self.models]
        first = scores[0]
        if first is None or len(scores) == 1:
            return first
        values = [each.values for each in scores if each is not None]
        means = np.stack(values).astype(np.float64).mean(axis=0)
        return SampleScores(first.name, means, first.best)


def by_sample(rows: pa.Table) -> pa.Table:
    """Rows in the order of shard and key."""
    return rows.sort_by([(SHARD, "ascending"), (KEY, "ascending")])


def check_comparable(models: Sequence[Judged]) -> None:
    """Refuses models that were not judged by the same metric on the same samples with the same targets.

    Args:
        models: At least one.

    Raises:
        ConfigError: Names the two that differ, and a sample.
    """
    first, *others = models
    for other in others:
        if other.objective.metric != first.objective.metric:
            raise ConfigError(
                f"{first.where} is judged by {first.objective.metric} and {other.where} by {other.objective.metric}",
                where="--compare",
                fix="compare models of one objective",
            )
        _check_samples(first, other)


def _check_samples(first: Judged, second: Judged) -> None:
    ours, theirs = _labels(first.rows), _labels(second.rows)
    where = f"{first.where} and {second.where}"
    if ours.keys() != theirs.keys():
        shard, key = min(ours.keys() ^ theirs.keys())
        only = first.where if (shard, key) in ours else second.where
        raise ConfigError(
            f"{where} were judged on different test sets: {len(ours)} and {len(theirs)} samples, "
            f"{len(ours.keys() & theirs.keys())} in both",
            where=f"shard={shard} key={key}, which only {only} has",
            fix="evaluate both on the same evaluate.input; a model that refuses samples without its modality "
            "has judged fewer: evaluate.common_samples=true compares on those that all have judged",
        )
    for sample, label in ours.items():
        if theirs[sample] != label:
            raise ConfigError(
                f"{where} were judged by different targets: {label!r} and {theirs[sample]!r}",
                where="shard={} key={}".format(*sample),
                fix="evaluate both with the same label",
            )


def _labels(rows: pa.Table) -> dict[tuple[str, str], object]:
    """(shard, key) -> target."""
    names = zip(rows[SHARD].to_pylist(), rows[KEY].to_pylist(), strict=True)
    return dict(zip(names, rows[LABEL].to_pylist(), strict=True))


def num_parameters(weights: bytes) -> int:
    """How many numbers a safetensors file holds, from its header: eight bytes of length, then JSON."""
    (length,) = struct.unpack("<Q", weights[:8])
    header: Mapping[str, Mapping[str, Sequence[int]]] = json.loads(weights[8 : 8 + length])
    return sum(prod(row["shape"]) for name, row in header.items() if name != "__metadata__")


def short_names(folders: Sequence[str]) -> list[str]:
    """The ends of paths that tell them apart: as few folders as will do."""
    parts = [folder.rstrip("/").split("/") for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return list(folders)
