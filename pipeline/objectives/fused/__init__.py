"""What objectives share that answer from one fused embedding of a sample: encoders, a fusion, one linear head."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.models.fusion import AttentionConfig, FusionConfig
from pipeline.objectives.base import ObjectiveSection

Probability = Annotated[float, Field(ge=0, lt=1)]


class FusedSection(ObjectiveSection):
    """Settings of a network that fuses any subset of the modalities."""

    fusion: FusionConfig = Field(
        default=AttentionConfig(), description="joins the modalities that a sample has"
    )
    dropout: Annotated[Probability, Field(description="of the embedding's channels")] = 0.1
    modality_dropout: Annotated[
        Probability, Field(description="how often training hides a modality; never all of a sample")
    ] = 0.2
    unimodal_weight: Annotated[
        float, Field(ge=0, description="weight of the loss with one modality alone")
    ] = 1.0
