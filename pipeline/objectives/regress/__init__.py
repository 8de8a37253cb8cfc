"""Regression: which number, or which numbers, belong to a sample? Its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import pyarrow as pa
from pydantic import Field, JsonValue

from pipeline.metrics.columns import Sums
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.fused import FusedSection
from pipeline.objectives.regress import rows
from pipeline.objectives.regress.numbers import NumberSurvey, NumberTarget, Scale, parsed
from pipeline.objectives.regress.summary import summary

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord, SampleScores
    from pipeline.objectives.regress.baselines import NumberBaselines
    from pipeline.objectives.regress.evaluation import NumberEvaluation
    from pipeline.objectives.regress.model import Regressor
    from pipeline.objectives.regress.section import NumberSection

Place = Annotated[str, Field(min_length=1)]


class RegressConfig(FusedSection):
    """An estimator of one or several numbers of a sample with any subset of the modalities.

    What it learns of the targets are ``mean`` and ``deviation``, one of each number, by which they are standardised.
    """

    kind: Literal["regress"] = "regress"
    target: Annotated[
        Place | Annotated[list[Place], Field(min_length=1)],
        Field(
            description="field with the number, or json.path inside a JSON field; a list estimates several"
        ),
    ] = "cls"
    loss: Annotated[
        Literal["squared", "absolute", "huber"],
        Field(description="of the standardised numbers; huber is squared up to one deviation"),
    ] = "squared"

    @property
    def places(self) -> tuple[str, ...]:
        """Where the numbers stand."""
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)

    @property
    def score(self) -> Score:
        # Of several numbers in units of their own, one would outweigh the others.
        return Score("mae" if len(self.places) == 1 else "loss", "min")

    @property
    def metric(self) -> str:
        return "mae"

    def targets(self, learned: Learned | None = None) -> NumberTarget:
        return NumberTarget(self.places)

    def survey(self) -> NumberSurvey:
        return NumberSurvey(self.places)

    def learn(self, survey: NumberSurvey) -> Learned:
        return survey.scale().learned()

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> Regressor:
        from pipeline.objectives.regress.model import Regressor

        return Regressor(self, encoders, Scale.of(learned))

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        return rows.schema(len(self.places), self.width)

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        return rows.table(arrays)

    def footer(self, learned: Learned) -> dict[str, str]:
        return {"targets": json.dumps(list(self.places), ensure_ascii=False)}

    def truth(self, texts: pa.Array) -> pa.Array:
        return rows.numbers(parsed(texts.to_pylist(), len(self.places)))

    def texts(self, truth: pa.Array) -> list[str | None]:
        return [json.dumps(numbers) for numbers in rows.values(truth).tolist()]

    def evaluation(self, learned: Learned, judging: Judging) -> NumberEvaluation:
        from pipeline.objectives.regress.evaluation import NumberEvaluation

        return NumberEvaluation(self.places, Scale.of(learned), judging)

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.regress.evaluation import difference

        return difference(first, second, judging)

    def sample_scores(self, rows: pa.Table, evaluation: Mapping[str, JsonValue]) -> SampleScores:
        from pipeline.objectives.regress.evaluation import sample_scores

        return sample_scores(rows)

    def baselines(self, learned: Learned, seed: int) -> NumberBaselines:
        from pipeline.objectives.regress.baselines import NumberBaselines

        return NumberBaselines(len(self.places), seed)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows, Scale.of(learned))

    def section(self) -> NumberSection:
        from pipeline.objectives.regress.section import NumberSection

        return NumberSection(self.places, self.score)

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.regress.evaluation import summary_metrics

        return summary_metrics(evaluation)
