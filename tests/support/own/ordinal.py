"""An objective: the level of a sample, 0, 1, 2 and so on, where the next level is nearer than the one after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.errors import ConfigError, SampleError
from pipeline.metrics.record import (
    ComparedScores,
    EvaluationRecord,
    OverallScores,
    difference_json,
)
from pipeline.metrics.regression import paired_mae_difference
from pipeline.metrics.resampling.estimate import Estimate
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.modalities.decoding.targets import Target, missing_label, read_label
from pipeline.modalities.strict_json import DEPTH
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.columns import fixed_lists
from pipeline.objectives.fused import FusedSection
from pipeline.objectives.gathered import Gathered
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, LABEL, SHARD, Sample

if TYPE_CHECKING:
    from torch import nn

    from .networks import OrdinalNetwork

SETTING = "objective.settings.place"


@dataclass(frozen=True)
class LevelTarget:
    """A level, from 0 on; the canonical text is its digits."""

    place: str
    countable = True
    accepted = None
    setting = SETTING

    @property
    def places(self) -> tuple[str, ...]:
        return (self.place,)

    @property
    def identity(self) -> str:
        return self.place

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        text = read_label(sample, self.place, json_depth)
        if not (text.isascii() and text.isdigit()):
            raise SampleError(f"no level: {text[:20]!r}", reason="bad_label", setting=SETTING)
        return str(int(text))

    def accept(self, text: str | None) -> str:
        if text is None:
            raise missing_label(self.place, setting=SETTING)
        return text


@dataclass
class LevelSurvey:
    place: str
    levels: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.levels.total()

    def add(self, sample: Sample, json_depth: int) -> None:
        self.add_text(LevelTarget(self.place).read(sample, json_depth))

    def add_text(self, text: str) -> None:
        self.levels[int(text)] += 1

    def merge(self, other: LevelSurvey) -> None:
        self.levels += other.levels

    def refused(self, target: Target) -> Counter[str]:
        return Counter()


def _levels(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.array([int(value) for value in column.to_pylist()], dtype=np.float64)


def _paired(targets: Any, first: Any, second: Any, judging: Judging, name: str) -> Estimate:
    seed = named_seed(judging.seed, name)
    return paired_mae_difference(
        targets, first, second, seed=seed, num_resamples=judging.num_bootstrap
    )


class LevelEvaluation(Gathered):
    columns = ("level",)

    def __init__(self, judging: Judging) -> None:
        super().__init__()
        self.judging = judging

    def compute(self) -> EvaluationRecord:
        present, targets = self.present, _levels(pa.array(self.texts))
        levels = {name: _levels(table["level"]) for name, table in self.predictions.items()}
        whole = levels[subset_name(present)]
        subsets = {}
        for name, predicted in levels.items():
            rows = rows_of(name, present, len(targets))
            off = np.abs(predicted - targets)[rows]
            paired = _paired(targets[rows], predicted[rows], whole[rows], self.judging, name)
            subsets[name] = ComparedScores(
                num_samples=len(off),
                metrics={"levels_off": float(off.mean()) if len(off) else None},
                difference=paired.value,
                difference_interval=paired.interval,
            )
        complete = subsets[subset_name(present)]
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=OverallScores(num_samples=complete.num_samples, metrics=complete.metrics),
            subsets=subsets,
        )


class LevelSection:
    measure = Measure("levels_off", "Levels off", "min")
    score = Score("levels_off", "min")
    curves: Mapping[str, str] = {"Levels off": "levels_off"}

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        off = evaluation.overall.metrics.get("levels_off")
        return [] if off is None else [KeyFigure("Levels off", off, "number")]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        off = evaluation.overall.metrics.get("levels_off")
        template = str(Path(__file__).with_name("ordinal.html"))
        return None if off is None else Part(template, {"off": off})

    def reference(self, evaluation: EvaluationRecord) -> None:
        return None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> None:
        return None

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        means = {
            name: [sum(int(text) * count for text, count in counts.items()) / sum(counts.values())]
            for name, counts in splits.items()
            if counts
        }
        return Targets(columns=[("Mean level", 2)], rows=means)

    def label(self, text: str) -> str:
        return f"level {text}"

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        rows = predicted.slice(0, count).to_pylist()
        return [
            Judgement(row[SHARD], row[KEY], f"level {row[LABEL]}", f"level {row['level']}")
            for row in rows
        ]

    def groups(self, examples: Any) -> list[Group]:
        return [Group("Some of the samples", list(examples))]


class OrdinalConfig(FusedSection):
    """Levels in order."""

    place: str = "cls"
    max_levels: int = Field(default=16, ge=2)

    @property
    def score(self) -> Score:
        return LevelSection.score

    @property
    def metric(self) -> str:
        return "levels_off"

    def targets(self, learned: Learned | None = None) -> LevelTarget:
        return LevelTarget(self.place)

    def survey(self) -> LevelSurvey:
        return LevelSurvey(self.place)

    def learn(self, survey: LevelSurvey) -> Learned:
        levels = max(survey.levels, default=0) + 1
        if not 2 <= levels <= self.max_levels:
            raise ConfigError(
                f"there are {levels} levels", where=SETTING, fix="set objective.settings.max_levels"
            )
        return {"levels": levels}

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> OrdinalNetwork:
        from .networks import OrdinalNetwork

        return OrdinalNetwork(self, encoders, int(str(learned["levels"])))

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        embedding = pa.field("embedding", pa.list_(pa.float32(), self.width))
        return [pa.field("level", pa.int32()), embedding]

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        levels = (arrays["above"] > 0.5).sum(axis=1).astype(np.int32)
        columns = [pa.array(levels), fixed_lists(arrays["embedding"])]
        return pa.Table.from_arrays(columns, schema=pa.schema(self.schema(learned)))

    def evaluation(self, learned: Learned, judging: Judging) -> LevelEvaluation:
        return LevelEvaluation(judging)

    def difference(
        self, first: pa.Table, second: pa.Table, evaluation: Mapping[str, Any], judging: Judging
    ) -> dict[str, Any]:
        levels = (_levels(rows["level"]) for rows in (first, second))
        return difference_json(_paired(_levels(first[LABEL]), *levels, judging, ""))

    def section(self) -> LevelSection:
        return LevelSection()

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        numbers = {
            f"levels_off_{name}": scores.metrics["levels_off"]
            for name, scores in evaluation.subsets.items()
        }
        numbers["levels_off"] = evaluation.overall.metrics["levels_off"]
        return {name: value for name, value in numbers.items() if value is not None}
