"""What objectives share that answer from one fused embedding of a sample: encoders, a fusion, one linear head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.errors import ConfigError
from pipeline.models.fusion import AttentionConfig, ConcatConfig, FusionConfig
from pipeline.objectives.base import ObjectiveSection
from pipeline.objectives.fused.balance import BalanceConfig, NoBalance

if TYPE_CHECKING:
    from pipeline.modalities.base import ModalityConfig

Probability = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]


class FusedSection(ObjectiveSection):
    """Settings of a network that fuses any subset of the modalities."""

    NEEDS_VALUES = False
    FOR_FEW: ClassVar[Mapping[str, object]] = {"fusion": ConcatConfig(), "dropout": 0.3}

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
    unimodal_weights: Mapping[str, Weight] = Field(
        default={}, description="a factor of that weight for each modality; 1 where it is not named"
    )
    balance: BalanceConfig = Field(
        default=NoBalance(), description="keeps one modality from drowning another"
    )

    def check_inputs(self, modalities: Mapping[str, ModalityConfig]) -> None:
        """Refuses weights of modalities that there are not."""
        for name in self.unimodal_weights:
            if name not in modalities:
                raise ValueError(
                    f"objective.unimodal_weights names {name}, and the modalities are {', '.join(modalities)}"
                )

    def check_training(self, *, validates: bool) -> None:
        """Refuses a balance that is estimated on a validation split where there is none."""
        if self.balance.WATCHES_LOSSES and not validates:
            raise ConfigError(
                f"{self.balance.kind} compares training with validation, and nothing is validated",
                where="objective.balance.kind",
                fix="set input.val, or objective.balance={kind: none}",
            )

    @model_validator(mode="after")
    def _modalities_learn(self) -> Self:
        needy = {
            f"objective.fusion.kind={self.fusion.kind}": self.fusion.TRAINED_ALONE,
            f"objective.balance.kind={self.balance.kind}": self.balance.WATCHES_LOSSES,
        }
        for setting, needs in needy.items():
            if needs and not self.unimodal_weight:
                raise ValueError(
                    f"{setting} trains modalities by the loss of each alone: "
                    "objective.unimodal_weight must be more than 0"
                )
        return self
