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

    @model_validator(mode="before")
    @classmethod
    def _no_video(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "video" in data:
            names = ", ".join(cls.model_fields)
            raise ValueError(f"video is not there yet; the modalities are {names}")
        return data

    @model_validator(mode="after")
    def _at_least_one(self) -> ModalitiesConfig:
        if not self.by_name():
            raise ValueError(f"name at least one of {', '.join(type(self).model_fields)}")
        return self

    def decoding(
        self, *, exclude_none: bool = True, filters: bool = True, encoders: bool = False
    ) -> dict[str, Any]:
        """The settings that decoded rows depend on, ready for JSON: not the augmentation, the limits and the encoder.

        A limit decides only whether a sample is refused; one that is raised leaves what is decoded as it was. A filter
        that is off is left out, so that what was made before there were filters is still recognised.

        Args:
            exclude_none: Leaves out modalities that are not configured, rather than giving None.
            filters: Whether filters that are on are told. They say which rows there are, not what their values are:
                a model takes samples that its training left out.
            encoders: Whether encoders other than a modality's default are told: a model depends on them too.
        """
        settings = self.model_dump(mode="json", exclude_none=exclude_none)
        for name, config in self.by_name().items():
            for setting in ("augment", *config.LIMITS):
                settings[name].pop(setting, None)
            if not (filters and config.filter.active):
                settings[name].pop("filter")
            if not encoders or config.encoder == type(config).model_fields["encoder"].default:
                settings[name].pop("encoder")
        return settings

    def for_job(self, other: ModalitiesConfig) -> ModalitiesConfig:
        """These modalities with the limits and filters of others: a model's preprocessing, a job's choice of samples.

        A model may meet larger files than it was trained on, and ones that its training left out.
        """
        theirs = other.by_name()
        changed = {
            name: config.model_copy(
                update={key: getattr(theirs[name], key) for key in (*config.LIMITS, "filter")}
            )
            for name, config in self.by_name().items()
            if name in theirs
        }
        return self.model_copy(update=changed)

    def by_name(self) -> Mapping[str, ModalityConfig]:
        """The configured modalities, in this class's order."""
        named = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: config for name, config in named if config is not None}
