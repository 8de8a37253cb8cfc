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

    def decoding(self, *, exclude_none: bool = True, filters: bool = True) -> dict[str, Any]:
        """The settings that decoded rows depend on, ready for JSON: all but the augmentation.

        A filter that is off is left out, so that what was made before there were filters is still recognised.

        Args:
            exclude_none: Leaves out modalities that are not configured, rather than giving None.
            filters: Whether filters that are on are told. They say which rows there are, not what their values are:
                a model takes samples that its training left out.
        """
        settings = self.model_dump(mode="json", exclude_none=exclude_none)
        for name, each in self.by_name().items():
            settings[name].pop("augment", None)
            if not (filters and each.filter.active):
                settings[name].pop("filter")
        return settings

    def with_filters(self, other: ModalitiesConfig) -> ModalitiesConfig:
        """These settings with the filters of others: a model's preprocessing with the filters of a job."""
        theirs = other.by_name()
        updates = {
            name: each.model_copy(update={"filter": theirs[name].filter})
            for name, each in self.by_name().items()
            if name in theirs
        }
        return self.model_copy(update=updates)

    def by_name(self) -> Mapping[str, ModalityConfig]:
        """The configured modalities, in this class's order."""
        named = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: config for name, config in named if config is not None}
