"""Settings held against those that an earlier version noted: what it did not have yet is not another setting.

A setting that was added since means its default in all that was made before, so that a tree that lacks it and one that
has the default are of the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipeline.modalities import ModalitiesConfig
from pipeline.plugins import settings_of


def as_noted(
    section: BaseModel, now: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """A section's settings without those that were noted before they were there, and that have their defaults.

    Args:
        section: Where the settings are from.
        now: They, as JSON.
        before: What was noted of such a section.
    """
    return _without(now, before, section.model_dump(mode="json", exclude_defaults=True))


def modalities_as_noted(
    modalities: ModalitiesConfig, now: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """As :func:`as_noted`, of what :meth:`.ModalitiesConfig.decoding` tells of modalities.

    Args:
        modalities: The modalities.
        now: What is told of them.
        before: What was told of such modalities before.
    """
    changed = modalities.model_dump(mode="json", exclude_defaults=True)
    for name, config in modalities.by_name().items():
        told = settings_of(now[name]) if name in now else {}
        fields = type(config).model_fields
        settings_of(changed[name]).update(
            (key, value)
            for key, value in told.items()
            if key not in fields  # what encoders ask for
        )
    return {
        name: _without(section, before[name], changed[name])
        if isinstance(section, Mapping) and isinstance(before.get(name), Mapping)
        else section
        for name, section in now.items()
    }


def _without(
    now: Mapping[str, Any], before: Mapping[str, Any], changed: Mapping[str, Any]
) -> dict[str, Any]:
    """Those of ``now`` that are in one of the others."""
    settings = {}
    for name, value in now.items():
        if isinstance(value, Mapping) and isinstance(before.get(name), Mapping):
            settings[name] = _without(value, before[name], changed.get(name) or {})
        elif name in before or name in changed:
            settings[name] = value
    return settings
