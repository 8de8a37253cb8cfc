"""Classification: which one of K classes does a sample belong to? Its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import pyarrow as pa
from pydantic import Field, JsonValue

from pipeline.metrics.columns import Sums
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.classify import labels, rows
from pipeline.objectives.classify.labels import ClassTarget, LabelSurvey
from pipeline.objectives.classify.summary import summary
from pipeline.objectives.fused import FusedSection, Probability
from pipeline.objectives.sampling import RarerThan, Repeats, repeat_factors

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord, SampleScores
    from pipeline.objectives.classify.baselines import ClassBaselines
    from pipeline.objectives.classify.evaluation import ClassEvaluation
    from pipeline.objectives.classify.model import Classifier
    from pipeline.objectives.classify.section import ClassSection


COUNTS = "counts"


class ClassifyConfig(FusedSection):
    """A classifier of samples with any subset of the modalities.

    What it learns of the targets are ``classes``, in the order of the probabilities, and where they are weighed or
    repeated their ``counts`` in the training split; of the validation split the ``temperature`` of the probabilities.
    """

    kind: Literal["classify"] = "classify"
    label: Annotated[
        str, Field(description="field with the label, or json.path inside a JSON field")
    ] = "cls"
    classes: Annotated[
        list[str] | None, Field(description="class names; by default those in the training set")
    ] = None
    label_smoothing: Annotated[
        Probability, Field(description="share of the target that is spread over all classes")
    ] = 0.05
    loss: Annotated[
        Literal["cross_entropy", "focal"],
        Field(description="focal counts samples less that the model is sure of"),
    ] = "cross_entropy"
    gamma: Annotated[
        float, Field(ge=0, description="how much less, for loss=focal; 0 is cross_entropy")
    ] = 2.0
    class_weights: Annotated[
        Literal["none", "balanced", "effective"],
        Field(
            description="of the loss: inverse to a class's samples (balanced) or to their effective number"
        ),
    ] = "none"
    beta: Annotated[
        Probability,
        Field(description="for class_weights=effective: 0 weighs alike, towards 1 as balanced"),
    ] = 0.999
    balanced_sampling: RarerThan = 0.0
    temperature_scaling: Annotated[
        bool, Field(description="makes probabilities as sure as they are right on input.val")
    ] = True

    @property
    def score(self) -> Score:
        return Score("accuracy", "max", is_share=True)

    @property
    def metric(self) -> str:
        return "accuracy"

    @property
    def preset(self) -> Learned | None:
        return {"classes": list(self.classes)} if self.classes else None

    def targets(self, learned: Learned | None = None) -> ClassTarget:
        return ClassTarget(self.label, None if learned is None else frozenset(names(learned)))

    def survey(self) -> LabelSurvey:
        return LabelSurvey(self.label)

    def learn(self, survey: LabelSurvey) -> Learned:
        classes = labels.class_names(self.label, self.classes, survey)
        if self.class_weights == "none" and not self.balanced_sampling:
            return {"classes": list(classes)}
        return {"classes": list(classes), COUNTS: [survey.labels[name] for name in classes]}

    def repeats(self, learned: Learned, seed: int) -> Repeats | None:
        if not self.balanced_sampling:
            return None
        numbers = counts(learned)
        shares = {
            name: number / sum(numbers)
            for name, number in zip(names(learned), numbers, strict=True)
        }
        factors = repeat_factors(shares, self.balanced_sampling)
        return Repeats(factors, labels.only_class, seed)

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> Classifier:
        from pipeline.objectives.classify.model import Classifier

        return Classifier(self, encoders, names(learned), counts(learned), temperature(learned))

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        return rows.schema(len(names(learned)), self.width)

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        return rows.table(arrays, names(learned))

    def footer(self, learned: Learned) -> dict[str, str]:
        return rows.footer(names(learned))

    def resolved(self, learned: Learned) -> dict[str, JsonValue]:
        settings = super().resolved(learned)
        return {**settings, "classes": settings["classes"] or list(names(learned))}

    def evaluation(self, learned: Learned, judging: Judging) -> ClassEvaluation:
        from pipeline.objectives.classify.evaluation import ClassEvaluation

        return ClassEvaluation(names(learned), judging, temperature(learned))

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.classify.evaluation import difference

        return difference(first, second, judging)

    def answers(self, rows: pa.Table) -> list[str | None]:
        said: list[str | None] = rows["prediction"].to_pylist()
        return said

    def sample_scores(self, rows: pa.Table, evaluation: Mapping[str, JsonValue]) -> SampleScores:
        from pipeline.objectives.classify.evaluation import sample_scores

        return sample_scores(rows)

    def baselines(self, learned: Learned, seed: int) -> ClassBaselines:
        from pipeline.objectives.classify.baselines import ClassBaselines

        return ClassBaselines(names(learned), seed)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows)

    def section(self) -> ClassSection:
        from pipeline.objectives.classify.section import ClassSection

        return ClassSection()

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.classify.evaluation import flat

        return flat(evaluation)


def names(learned: Learned) -> tuple[str, ...]:
    """The class names, in the order of the probabilities."""
    classes = learned["classes"]
    assert isinstance(classes, list | tuple)
    return tuple(map(str, classes))


def temperature(learned: Learned) -> float:
    """What logits are divided by; 1 where there was no validation split."""
    return float(str(learned.get(rows.TEMPERATURE) or 1.0))


def counts(learned: Learned) -> tuple[int, ...]:
    """Training samples of each class; empty where classes are neither weighed nor repeated."""
    numbers = learned.get(COUNTS) or ()
    assert isinstance(numbers, list | tuple)
    return tuple(int(str(number)) for number in numbers)
