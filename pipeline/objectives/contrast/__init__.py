"""Contrast: one space, in which what belongs to a sample lies together, of whatever modality. Its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Literal, cast

import pyarrow as pa
from pydantic import Field, JsonValue

from pipeline.errors import ConfigError
from pipeline.metrics.columns import Sums
from pipeline.modalities.decoding.targets import Target
from pipeline.models.record import Score
from pipeline.objectives.base import (
    Arrays,
    Judging,
    Learned,
    ObjectiveSection,
)
from pipeline.objectives.contrast import rows
from pipeline.objectives.contrast.summary import summary
from pipeline.objectives.contrast.targets import LABEL, NamesSurvey, NamesTarget, names_of
from pipeline.objectives.evaluation import Evaluation, Prompts, TrainingSplit

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord
    from pipeline.modalities.base import ModalityConfig
    from pipeline.objectives.contrast.evaluation import SpaceEvaluation
    from pipeline.objectives.contrast.model import SharedSpace
    from pipeline.objectives.contrast.section import SpaceSection

EMBEDS = "embeds"
METRIC = "recall_at_5"
SCORE = Score("mean_average_precision", "max", is_share=True)


class ContrastConfig(ObjectiveSection):
    """A shared space of two or more modalities, learned from which of them belong to one sample.

    What it learns before training is ``embeds``, the names of the modalities; it needs no labels.
    """

    NEEDS_VALUES = False

    kind: Literal["contrast"] = "contrast"
    loss: Annotated[
        Literal["infonce", "sigmoid"],
        Field(
            description="infonce tells a sample's own from all others of the batch; sigmoid judges each pair alone"
        ),
    ] = "infonce"
    hub: Annotated[
        str | None,
        Field(
            description="modality that all others are bound to; by default each is bound to each"
        ),
    ] = None
    embedding_width: Annotated[
        int | None, Field(ge=2, description="numbers of an embedding; width unless told")
    ] = None
    temperature: Annotated[
        float,
        Field(
            ge=0.01, le=10, description="that similarities are divided by at first; it is learned"
        ),
    ] = 0.07
    min_temperature: Annotated[
        float, Field(gt=0, le=10, description="below which it is never learned")
    ] = 0.01
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="of the channels that an embedding is made of")
    ] = 0.1
    label: Annotated[
        str | None,
        Field(
            description="field with a label, or json.path inside a JSON field, to judge the space by; never trained on"
        ),
    ] = None
    group: Annotated[
        str | None,
        Field(
            description="field, or json.path, whose equal values are never told apart, as are equal texts and contents"
        ),
    ] = None

    @property
    def space(self) -> int:
        """Numbers of an embedding, D."""
        return self.embedding_width or self.width

    @property
    def score(self) -> Score:
        return SCORE

    @property
    def metric(self) -> str:
        return METRIC

    def pairs(self, modalities: Sequence[str]) -> list[tuple[str, str]]:
        """The modalities that the loss compares."""
        return [
            pair for pair in combinations(modalities, 2) if self.hub is None or self.hub in pair
        ]

    def check_inputs(self, modalities: Mapping[str, ModalityConfig]) -> None:
        if len(modalities) < 2:
            raise ValueError(
                f"objective.kind: contrast compares modalities with each other, and modalities has only "
                f"{', '.join(modalities)}; name a second one in modalities, or choose another objective.kind"
            )
        if self.hub is not None and self.hub not in modalities:
            raise ValueError(
                f"objective.hub: there is no modality {self.hub}; choose one of {', '.join(modalities)}"
            )

    def check_fields(self, fields: Mapping[str, Sequence[str]]) -> None:
        """All fields may be read: samples of one text are a group, and labels are never trained on."""

    def about_inputs(self, modalities: Mapping[str, ModalityConfig]) -> Learned:
        return {EMBEDS: list(modalities)}

    def targets(self, learned: Learned | None = None) -> Target | None:
        if self.label is None and self.group is None:
            return None
        return NamesTarget(self.label, self.group)

    def survey(self) -> NamesSurvey:
        has_target = self.targets() is not None
        return NamesSurvey(NamesTarget(self.label, self.group) if has_target else None)

    def learn(self, survey: NamesSurvey) -> Learned:
        for name, place in (("label", self.label), ("group", self.group)):
            if place is not None and survey.count and not survey.having[name]:
                raise ConfigError(
                    f"none of {survey.count} samples has {place}",
                    where=f"objective.{name}={place}",
                    fix=f"name the field that holds it, or leave objective.{name} out",
                )
        return {}

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> SharedSpace:
        from pipeline.objectives.contrast.model import SharedSpace

        return SharedSpace(self, encoders)

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        return rows.schema(embeds(learned), self.space)

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        return rows.table(arrays, embeds(learned))

    def footer(self, learned: Learned) -> dict[str, str]:
        return {EMBEDS: json.dumps(list(embeds(learned)))}

    def truth(self, texts: pa.Array) -> pa.Array:
        labels = [names_of(text).get(LABEL) for text in texts.to_pylist()]
        return pa.array(labels, pa.string())

    def texts(self, truth: pa.Array) -> None:
        """None: of a group, nothing stands beside predictions."""

    def evaluation(self, learned: Learned, judging: Judging) -> SpaceEvaluation:
        from pipeline.objectives.contrast.evaluation import SpaceEvaluation

        return SpaceEvaluation(embeds(learned), judging)

    def prompted(self, evaluation: Evaluation, prompts: Callable[[], Prompts]) -> None:
        if self.label is None:
            raise ConfigError(
                "without labels there is nothing that prompts could be right about",
                where="evaluate.prompts",
                fix="train with objective.label, the field that names the class; it is judged by, never trained on",
            )
        cast("SpaceEvaluation", evaluation).prompts = prompts()

    def fitted(self, evaluation: Evaluation, training: Callable[[], TrainingSplit | None]) -> None:
        if self.label is not None:
            cast("SpaceEvaluation", evaluation).training = training()

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.contrast.evaluation import difference

        return difference(first, second, judging)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows, embeds(learned))

    def section(self) -> SpaceSection:
        from pipeline.objectives.contrast.section import SpaceSection

        return SpaceSection()

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.contrast.evaluation import summary_metrics

        return summary_metrics(evaluation)


def embeds(learned: Learned) -> tuple[str, ...]:
    """The modalities of the space, in the order of the configuration."""
    names = learned[EMBEDS]
    assert isinstance(names, list | tuple)
    return tuple(map(str, names))
