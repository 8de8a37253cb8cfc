"""Fusions join the features of the modalities: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.modalities.base import Section

if TYPE_CHECKING:
    from pipeline.models.fusion.base import Fusion


class _FusionConfig(Section):
    dropout: Annotated[float, Field(ge=0, lt=1, description="of the fused channels")] = 0.1


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


class AttentionConfig(_FusionConfig):
    """Token level: a transformer over the tokens of all modalities."""

    kind: Literal["attention"] = "attention"
    layers: Annotated[int, Field(ge=1, le=24, description="transformer layers over all tokens")] = 2

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.attention import AttentionFusion

        return AttentionFusion(width, modalities, layers=self.layers, dropout=self.dropout)


class LateConfig(_FusionConfig):
    """Output level: one output per modality, weighted for each sample."""

    kind: Literal["late"] = "late"

    def build(self, width: int, modalities: Sequence[str]) -> Fusion:
        """Builds the network for features of ``width`` channels."""
        from pipeline.models.fusion.late import LateFusion

        return LateFusion(width, modalities, dropout=self.dropout)


FusionConfig = Annotated[
    ConcatConfig | GatedConfig | AttentionConfig | LateConfig, Field(discriminator="kind")
]
