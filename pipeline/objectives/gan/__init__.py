"""Generative adversarial networks: values of one modality, made of the others or of a label. Their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import pyarrow as pa
from pydantic import BeforeValidator, Field, JsonValue, model_validator

from pipeline.errors import ConfigError
from pipeline.metrics.columns import Sums
from pipeline.modalities.decoding.targets import Target
from pipeline.models.fusion import AttentionConfig, FusionConfig
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.evaluation import Evaluation, MadeValues
from pipeline.objectives.gan import rows
from pipeline.objectives.gan.conditions import ConditionSurvey, ConditionTarget, Vocabulary
from pipeline.objectives.gan.summary import summary
from pipeline.objectives.generated import GeneratingSection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from pipeline.metrics.record import EvaluationRecord
    from pipeline.modalities.base import ModalityConfig
    from pipeline.objectives.gan.evaluation import GanEvaluation
    from pipeline.objectives.gan.model import AdversarialPair
    from pipeline.objectives.gan.section import GanSection

VALUES = "values"
LossName = Literal["hinge", "non_saturating"]
AugmentName = Literal["colour", "translation", "cutout"]


def _several(value: Any) -> Any:
    """One text is a list of one."""
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]


class GanConfig(GeneratingSection):
    """A generator of one modality, which learns from a discriminator that it must deceive.

    What it learns before training is ``values``, those of the label.
    """

    TAKES_TARGETS = True  # values are made of the label

    kind: Literal["gan"] = "gan"
    generates: Annotated[
        Texts | None,
        Field(
            min_length=1,
            max_length=1,
            description="the modality whose values are made, from all others and the label; by default the first "
            "whose can be",
        ),
    ] = None
    label: Annotated[
        Texts,
        Field(
            description="field with a label, or json.path in a JSON field, that values are made to be of, or several; "
            "what stands there may be a list; samples may lack it"
        ),
    ] = ()
    ask: Annotated[
        Mapping[str, Texts],
        Field(
            description="place of the label: what predictions are asked to be there, in place of what samples say"
        ),
    ] = {}
    fusion: FusionConfig = Field(
        default=AttentionConfig(), description="joins the modalities that values are made from"
    )
    modality_dropout: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="how often training hides one of the modalities, or the label, that values are made from; "
            "never all of a sample",
        ),
    ] = 0.2
    noise: Annotated[int, Field(ge=1, le=4096, description="numbers of noise a sample")] = 64
    channels: Annotated[
        int,
        Field(ge=8, le=512, description="of both networks' finest maps; coarser ones have more"),
    ] = 32
    network: Annotated[
        Literal["convolutions", "warped"],
        Field(
            description="makes maps: convolutions, or a perceptron whose maps are moved and stretched across, as words "
            "are that are said earlier or slower"
        ),
    ] = "convolutions"
    patch: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            description="pixels of a side of a map that are made, and looked at, together: the more, the faster and "
            "the coarser",
        ),
    ] = 2
    loss: Annotated[
        LossName, Field(description="what the players are after; see the page of objectives")
    ] = "hinge"
    r1: Annotated[
        float,
        Field(ge=0, description="weight of the discriminator's gradient penalty; 0 leaves it out"),
    ] = 0.0
    reconstruction: Annotated[
        float,
        Field(
            ge=0,
            description="weight of making real values again, of noise that a network reads from them, so that noise "
            "says what values of one label differ in; 0 leaves it out",
        ),
    ] = 0.0
    reconstruction_scale: Annotated[
        float,
        Field(
            gt=0,
            description="how far off numbers may be that are made again (values lie from -1 to 1): the larger, the "
            "more alike are values of one label",
        ),
    ] = 0.5
    discriminator_rate: Annotated[
        float,
        Field(gt=0, le=100, description="learning rate of the discriminator over the generator's"),
    ] = 2.0
    augment: Annotated[
        tuple[AugmentName, ...],
        Field(
            description="changes of real and made maps before the discriminator, in this order; vectors have none"
        ),
    ] = ("colour", "translation")

    @property
    def score(self) -> Score:
        return Score(rows.FRECHET, "min", otherwise=Score("generator_loss", "min"))

    @property
    def metric(self) -> str:
        return rows.FRECHET

    @property
    def draws(self) -> bool:
        """True: what is not asked for is drawn."""
        return True

    @model_validator(mode="after")
    def _fuses_features(self) -> Self:
        if self.fusion.JOINS_OUTPUTS:
            raise ValueError(
                f"objective.fusion.kind={self.fusion.kind} joins the answers of modalities, and {self.kind} makes one "
                "value of what all of them show; choose a fusion of features or tokens, such as attention"
            )
        return self

    def check_inputs(self, modalities: Mapping[str, ModalityConfig]) -> None:
        super().check_inputs(modalities)
        name = self.made_of(modalities)
        rendering = modalities[name].rendering(None) if name in modalities else None
        if rendering is None or rendering.symbols is not None:
            raise ValueError(
                f"objective.generates: a generator is taught by gradients of what it makes, and {name} is symbols, "
                "which have none; choose an image, a sound or a vector, or another objective.kind"
            )
        if len(modalities) < 2 and not self.label:
            raise ValueError(
                f"objective.kind: gan makes {name} of other modalities or of a label, and there is neither; name a "
                "second one in modalities, or set objective.label"
            )
        for place in self.ask:
            if place not in self.label:
                raise ValueError(
                    f"objective.ask: {place} is none of objective.label={', '.join(self.label) or 'nothing'}; name it "
                    "there, or leave it out"
                )

    def check_fields(self, fields: Mapping[str, Sequence[str]]) -> None:
        """Refuses nothing: the label is given to the network, and not found out by it."""

    def made_of(self, modalities: Mapping[str, Any]) -> str:
        """The modality whose values are made."""
        if self.generates:
            return self.generates[0]
        able = [name for name, config in modalities.items() if config.rendering(None) is not None]
        numbers = [name for name in able if modalities[name].rendering(None).symbols is None]
        return next(iter(numbers or able or modalities))

    def about_inputs(self, modalities: Mapping[str, ModalityConfig]) -> Learned:
        section = self.model_copy(update={"generates": (self.made_of(modalities),)})
        return super(GanConfig, section).about_inputs(modalities)

    def targets(self, learned: Learned | None = None) -> Target | None:
        return ConditionTarget(self.label) if self.label else None

    def survey(self) -> ConditionSurvey:
        return ConditionSurvey(ConditionTarget(self.label) if self.label else None)

    def learn(self, survey: ConditionSurvey) -> Learned:
        vocabulary = Vocabulary.of(survey, self.label)
        for place, values in self.ask.items():
            for value in values:
                if value not in vocabulary.values[place]:
                    raise ConfigError(
                        f"no sample is {value!r} at {place}",
                        where=f"objective.ask={place}: {value}",
                        fix=f"choose of {', '.join(vocabulary.values[place][:20])}",
                    )
        return {VALUES: {place: list(names) for place, names in vocabulary.values.items()}}

    def vocabulary(self, learned: Learned) -> Vocabulary:
        """The values of the label; empty where there is none."""
        values: Any = learned.get(VALUES, {}) if self.label else {}
        return Vocabulary(values)

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> AdversarialPair:
        from pipeline.objectives.gan.model import AdversarialPair

        [(name, rendering)] = self.renderings(learned).items()
        sources = {source: encoder for source, encoder in encoders.items() if source != name}
        return AdversarialPair(self, sources, name, rendering, self.vocabulary(learned))

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        renderings = self.renderings(learned)
        shapes = [rendering.shape for rendering in renderings.values()]
        return rows.schema(renderings, self.width, sum(map(rows.features_of, shapes)))

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        return rows.table(arrays, self.renderings(learned), self.vocabulary(learned))

    def evaluation(self, learned: Learned, judging: Judging) -> GanEvaluation:
        from pipeline.objectives.gan.evaluation import GanEvaluation

        return GanEvaluation(judging)

    def shown_made(self, evaluation: Evaluation, made: MadeValues) -> None:
        cast("GanEvaluation", evaluation).shown = made

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.gan.evaluation import difference

        return difference(first, second, judging)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows)

    def section(self) -> GanSection:
        from pipeline.objectives.gan.section import GanSection

        return GanSection(self.score)

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.gan.evaluation import summary_metrics

        return summary_metrics(evaluation)
