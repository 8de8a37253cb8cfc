"""Multi-label classification: which of K classes, any number of them, does a sample belong to? Its configuration.

An objective of its own beside ``classify``: what it reads as a target, its columns, loss, metrics and page all differ,
so that a flag of ``classify`` would be asked for in each of its methods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import pyarrow as pa
from pydantic import Field, JsonValue

from pipeline.metrics.columns import Sums
from pipeline.metrics.thresholds import DEFAULT_THRESHOLD
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.fused import FusedSection
from pipeline.objectives.multi_label import labels, rows
from pipeline.objectives.multi_label.labels import (
    SHARES,
    THRESHOLDS,
    LabelsSurvey,
    LabelsTarget,
)
from pipeline.objectives.multi_label.summary import summary
from pipeline.objectives.sampling import RarerThan, Repeats, repeat_factors

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord, SampleScores
    from pipeline.objectives.multi_label.baselines import LabelBaselines
    from pipeline.objectives.multi_label.evaluation import MultiLabelEvaluation
    from pipeline.objectives.multi_label.model import MultiLabelClassifier
    from pipeline.objectives.multi_label.section import LabelsSection


class MultiLabelConfig(FusedSection):
    """A classifier of samples that have any number of labels, none included.

    What it learns of the targets are ``classes``, in the order of the probabilities, and where rare ones are repeated
    the ``shares`` of the samples that have them; of the validation split's predictions it learns ``thresholds``, the
    probabilities from which on classes are predicted.
    """

    kind: Literal["multi_label"] = "multi_label"
    label: Annotated[
        str, Field(description="field with the labels, or json.path inside a JSON field")
    ] = "cls"
    separator: Annotated[
        str | None,
        Field(
            min_length=1, description="between labels in a text; by default they are a JSON list"
        ),
    ] = None
    classes: Annotated[
        list[str] | None,
        Field(min_length=1, description="class names; by default those in the training set"),
    ] = None
    loss: Annotated[
        Literal["binary_cross_entropy", "focal"],
        Field(description="focal counts decisions less that the model is sure of"),
    ] = "binary_cross_entropy"
    gamma: Annotated[
        float, Field(ge=0, description="how much less, for loss=focal; 0 is binary_cross_entropy")
    ] = 2.0
    balanced_sampling: RarerThan = 0.0

    @property
    def score(self) -> Score:
        # It needs all samples at once, and a class with a sample: without a validation split, there is none.
        return Score(self.metric, "max", otherwise=Score("loss", "min"))

    @property
    def metric(self) -> str:
        return "mean_average_precision"

    @property
    def preset(self) -> Learned | None:
        return {"classes": list(self.classes)} if self.classes else None

    def targets(self, learned: Learned | None = None) -> LabelsTarget:
        classes = None if learned is None else frozenset(names(learned))
        return LabelsTarget(self.label, self.separator, classes)

    def survey(self) -> LabelsSurvey:
        return LabelsSurvey(self.targets())

    def learn(self, survey: LabelsSurvey) -> Learned:
        classes = labels.class_names(self.label, self.classes, survey)
        if not self.balanced_sampling:
            return {"classes": list(classes)}
        shares = labels.shares(survey, classes)
        return {"classes": list(classes), SHARES: list(shares)}

    def repeats(self, learned: Learned, seed: int) -> Repeats | None:
        if not self.balanced_sampling:
            return None
        shares = learned[SHARES]
        assert isinstance(shares, list | tuple)
        by_class = dict(zip(names(learned), (float(str(share)) for share in shares), strict=True))
        factors = repeat_factors(by_class, self.balanced_sampling)
        return Repeats(factors, labels.labels_of, seed)

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> MultiLabelClassifier:
        from pipeline.objectives.multi_label.model import MultiLabelClassifier

        return MultiLabelClassifier(self, encoders, names(learned))

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        return rows.schema(len(names(learned)), self.width)

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        return rows.table(arrays, names(learned), thresholds(learned))

    def footer(self, learned: Learned) -> dict[str, str]:
        return rows.footer(names(learned), thresholds(learned))

    def resolved(self, learned: Learned) -> dict[str, JsonValue]:
        settings = super().resolved(learned)
        return {**settings, "classes": settings["classes"] or list(names(learned))}

    def truth(self, texts: pa.Array) -> pa.Array:
        return rows.label_lists(texts)

    def texts(self, truth: pa.Array) -> list[str | None]:
        return [json.dumps(labels, ensure_ascii=False) for labels in truth.to_pylist()]

    def evaluation(self, learned: Learned, judging: Judging) -> MultiLabelEvaluation:
        from pipeline.objectives.multi_label.evaluation import MultiLabelEvaluation

        return MultiLabelEvaluation(names(learned), thresholds(learned), judging)

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.multi_label.evaluation import difference

        return difference(first, second, names(evaluation), judging)

    def sample_scores(self, rows: pa.Table, evaluation: Mapping[str, JsonValue]) -> SampleScores:
        from pipeline.objectives.multi_label.evaluation import sample_scores

        return sample_scores(rows)

    def baselines(self, learned: Learned, seed: int) -> LabelBaselines:
        from pipeline.objectives.multi_label.baselines import LabelBaselines

        return LabelBaselines(names(learned), seed)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows)

    def section(self) -> LabelsSection:
        from pipeline.objectives.multi_label.section import LabelsSection

        return LabelsSection(self.score)

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.multi_label.evaluation import flat

        return flat(evaluation)


def names(learned: Learned) -> tuple[str, ...]:
    """The class names, in the order of the probabilities."""
    classes = learned["classes"]
    assert isinstance(classes, list | tuple)
    return tuple(map(str, classes))


def thresholds(learned: Learned) -> tuple[float, ...]:
    """The probability from which on each class is predicted; of all 0.5 where there was no validation split."""
    values = learned.get(THRESHOLDS) or [DEFAULT_THRESHOLD] * len(names(learned))
    assert isinstance(values, list | tuple)
    return tuple(float(str(value)) for value in values)
