"""What objectives share that make values of modalities: which they are, and the columns that these stand in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from pydantic import Field, PrivateAttr

from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.rendering.base import Rendering
from pipeline.objectives.base import Learned, ObjectiveSection

if TYPE_CHECKING:
    from pipeline.modalities.base import ModalityConfig
    from pipeline.objectives.evaluation import Evaluation, MadeValues

GENERATES = "generates"


class GeneratingSection(ObjectiveSection):
    """The configuration of an objective that makes values of modalities.

    What it knows of them, ``generates``, modality -> the settings that decoded values depend on, goes into the bundle.
    """

    generates: Annotated[
        tuple[str, ...] | None,
        Field(
            min_length=1,
            description="modalities whose values are made; by default all whose can be",
        ),
    ] = None

    # What texts are written with; not a setting.
    _tokenizer: str | None = PrivateAttr(default=None)

    def with_tokenizer(self, tokenizer: str | None) -> Self:
        section = self.model_copy()
        section._tokenizer = tokenizer
        return section

    def shown_made(self, evaluation: Evaluation, made: MadeValues) -> None:
        """Leaves it to the evaluation, which has an attribute ``shown`` for it."""
        cast(Any, evaluation).shown = made

    def check_inputs(self, modalities: Mapping[str, ModalityConfig]) -> None:
        able = [name for name, config in modalities.items() if config.rendering(None) is not None]
        for name in self.generates or ():
            if name not in modalities:
                raise ValueError(
                    f"objective.generates: there is no modality {name}; choose of {', '.join(modalities)}"
                )
            if name not in able:
                raise ValueError(
                    f"objective.generates: no network here makes values of {name}, or none as its encoder takes them; "
                    f"choose of {', '.join(able) or 'other modalities'}"
                )
        if not able:
            raise ValueError(
                f"objective.kind: {self.kind} makes values of modalities, and no network here makes those of "
                f"{', '.join(modalities)}; name another in modalities, or choose another objective.kind"
            )

    def about_inputs(self, modalities: Mapping[str, ModalityConfig]) -> Learned:
        made = {
            name: config
            for name, config in modalities.items()
            if self.generates is None or name in self.generates
        }
        for name, config in made.items():
            _check_encoder(name, config)
        able = {name: config for name, config in made.items() if config.rendering(None) is not None}
        return {
            GENERATES: ModalitiesConfig.model_validate(able).decoding(
                exclude_none=False, filters=False
            )
        }

    def renderings(self, learned: Learned) -> dict[str, Rendering]:
        """Modality -> how its values are made, in the order of the configuration.

        Args:
            learned: With what :meth:`about_inputs` says; without, there are none.
        """
        if GENERATES not in learned:
            return {}
        sections = ModalitiesConfig.model_validate(learned[GENERATES]).by_name()
        renderings = {name: config.rendering(self._tokenizer) for name, config in sections.items()}
        return {name: made for name, made in renderings.items() if made is not None}


def _check_encoder(name: str, config: ModalityConfig) -> None:
    """Refuses a modality whose values could be made, if its encoder did not take others.

    Raises:
        ConfigError: It does.
    """
    usual = type(config).model_fields["encoder"].get_default(call_default_factory=True)
    if config.rendering(None) is not None or usual is None:
        return
    if config.model_copy(update={"encoder": usual}).rendering(None) is not None:
        raise ConfigError(
            f"no network here makes values of {name} as its encoder takes them",
            where=f"modalities.{name}.encoder.kind={config.encoder.kind}",
            fix=f"set it to {usual.kind}, or objective.generates to the other modalities",
        )
