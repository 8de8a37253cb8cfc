"""Fusions join the modalities, their features or their outputs: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.errors import ConfigError
from pipeline.modalities.section import Section

if TYPE_CHECKING:
    from pipeline.models.fusion.base import Fusion
    from pipeline.models.fusion.distributions import Distribution
    from pipeline.models.fusion.heads import Head, OutputHead

Layers = Annotated[int, Field(ge=1, le=24)]


class _FusionConfig(Section):
    """What all fusions have.

    Attributes:
        TRAINED_ALONE: Whether modalities learn only from the loss of each alone.
        HAS_EXPERTS: Whether each modality answers by itself, so that to ask all of them costs little.
        JOINS_OUTPUTS: Whether what it joins are answers: there is no one embedding before they are given.
    """

    TRAINED_ALONE: ClassVar[bool] = False
    HAS_EXPERTS: ClassVar[bool] = False
    JOINS_OUTPUTS: ClassVar[bool] = False

    dropout: Annotated[float, Field(ge=0, lt=1, description="of the fused channels")] = 0.1

    def head(
        self,
        width: int,
        outputs: int,
        modalities: Sequence[str],
        distribution: Distribution | None,
    ) -> Head:
        """Builds what makes outputs of what the network gives.

        Args:
            width: Channels of the fusion's vectors.
            outputs: K.
            modalities: Names of the modalities.
            distribution: What the outputs say, where they can be joined.
        """
        from pipeline.models.fusion.heads import LinearHead

        return LinearHead(width, outputs)


class ConcatConfig(_FusionConfig):
    """Feature level: the modalities' vectors side by side, through a perceptron."""

    kind: Literal["concat"] = "concat"

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.concat import ConcatFusion

        return ConcatFusion(width, modalities, dropout=self.dropout)


class GatedConfig(_FusionConfig):
    """Feature level: a mean of the modalities' vectors, weighted for each sample and channel."""

    kind: Literal["gated"] = "gated"

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.gated import GatedFusion

        return GatedFusion(width, modalities, dropout=self.dropout)


class LowRankConfig(_FusionConfig):
    """Feature level: products of the vectors of every subset of the modalities, by a tensor of low rank."""

    kind: Literal["low_rank"] = "low_rank"
    rank: Annotated[int, Field(ge=1, le=256, description="of the tensor")] = 8

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.low_rank import LowRankFusion

        return LowRankFusion(width, modalities, rank=self.rank, dropout=self.dropout)


class FilmConfig(_FusionConfig):
    """Feature level: modalities scale and shift the channels of one another's tokens."""

    kind: Literal["film"] = "film"

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.film import FilmFusion

        return FilmFusion(width, modalities, dropout=self.dropout)


class AttentionConfig(_FusionConfig):
    """Token level: a transformer over the tokens of all modalities."""

    kind: Literal["attention"] = "attention"
    layers: Annotated[Layers, Field(description="transformer layers over all tokens")] = 2

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.attention import AttentionFusion

        return AttentionFusion(width, modalities, layers=self.layers, dropout=self.dropout)


class CrossAttentionConfig(_FusionConfig):
    """Token level: the tokens of each modality look at those of all others."""

    kind: Literal["cross_attention"] = "cross_attention"
    layers: Annotated[Layers, Field(description="transformer layers of each modality")] = 1

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.cross_attention import CrossAttentionFusion

        return CrossAttentionFusion(width, modalities, layers=self.layers, dropout=self.dropout)


class BottleneckConfig(_FusionConfig):
    """Token level: a transformer per modality, and a few tokens that all of them write and read."""

    kind: Literal["bottleneck"] = "bottleneck"
    layers: Annotated[
        int, Field(ge=2, le=24, description="transformer layers of each modality")
    ] = 2
    tokens: Annotated[int, Field(ge=1, le=256, description="that are shared by the modalities")] = 4

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.bottleneck import BottleneckFusion

        return BottleneckFusion(width, modalities, self.layers, self.tokens, self.dropout)


class LateConfig(_FusionConfig):
    """Output level: one output per modality, weighted for each sample."""

    JOINS_OUTPUTS = True
    kind: Literal["late"] = "late"

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.late import LateFusion

        return LateFusion(width, modalities, dropout=self.dropout)


class _OutputFusionConfig(_FusionConfig):
    """Fusions of outputs: an expert per modality, which differ in how their answers become one."""

    HAS_EXPERTS = True
    JOINS_OUTPUTS = True

    @property
    def rule(self) -> type[OutputHead]:
        """How the answers become one."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.experts import Experts

        return Experts(width, modalities, dropout=self.dropout)

    def head(
        self,
        width: int,
        outputs: int,
        modalities: Sequence[str],
        distribution: Distribution | None,
    ) -> Head:
        """Builds the experts' heads and the rule."""
        if distribution is None:
            raise ConfigError(
                "the objective does not say how outputs of several modalities become one",
                where="objective.fusion",
                fix="choose a fusion of features, such as objective.fusion={kind: concat}",
            )
        return self.rule(width, outputs, modalities, distribution)


class MeanConfig(_OutputFusionConfig):
    """Output level: the mean of what the modalities predict."""

    kind: Literal["mean"] = "mean"

    @property
    def rule(self) -> type[OutputHead]:
        from pipeline.models.fusion.heads import MeanHead

        return MeanHead


class ProductConfig(_OutputFusionConfig):
    """Output level: a product of experts, each with a precision that is learned."""

    kind: Literal["product"] = "product"

    @property
    def rule(self) -> type[OutputHead]:
        from pipeline.models.fusion.heads import ProductHead

        return ProductHead


class StackingConfig(_OutputFusionConfig):
    """Output level: a linear model of what the modalities predict, each trained alone."""

    TRAINED_ALONE = True
    kind: Literal["stacking"] = "stacking"

    @property
    def rule(self) -> type[OutputHead]:
        from pipeline.models.fusion.heads import StackingHead

        return StackingHead


FusionConfig = Annotated[
    ConcatConfig
    | GatedConfig
    | LowRankConfig
    | FilmConfig
    | AttentionConfig
    | CrossAttentionConfig
    | BottleneckConfig
    | LateConfig
    | MeanConfig
    | ProductConfig
    | StackingConfig,
    Field(discriminator="kind"),
]
