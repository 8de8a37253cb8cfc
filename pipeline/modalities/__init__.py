"""The modalities, by name. One line here makes a modality part of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

    def decoding(self, *, exclude_none: bool = True) -> dict[str, Any]:
        """The settings that decoded values depend on, ready for JSON: all but the augmentation.

        Args:
            exclude_none: Leaves out modalities that are not configured, rather than giving None.
        """
        settings = self.model_dump(mode="json", exclude_none=exclude_none)
        for each in settings.values():
            if each is not None:
                each.pop("augment", None)
        return settings

    def by_name(self) -> Mapping[str, ModalityConfig]:
        """The configured modalities, in this class's order."""
        named = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: config for name, config in named if config is not None}
