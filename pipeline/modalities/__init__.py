"""The modalities, by name. One line here makes a modality part of the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import model_validator

from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.base import ModalityConfig, Section
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.text import TextConfig


class ModalitiesConfig(Section):
    """Which modalities a job reads. Any subset; a sample may lack any of them."""

    image: ImageConfig | None = None
    text: TextConfig | None = None
    audio: AudioConfig | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> ModalitiesConfig:
        if not self.by_name():
            raise ValueError(f"name at least one of {', '.join(type(self).model_fields)}")
        return self

    def by_name(self) -> Mapping[str, ModalityConfig]:
        """The configured modalities, in this class's order."""
        named = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: config for name, config in named if config is not None}
