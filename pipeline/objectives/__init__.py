"""Objectives say what a model is for; the union of their configurations.

To add one: write ``NAME/`` beside this file and list its configuration in the union; see
:mod:`pipeline.objectives.base`. The union imports no torch; building a network does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.multi_label import MultiLabelConfig
from pipeline.objectives.regress import RegressConfig


def _in_full(section: object) -> object:
    """A section as it may be written in short: ``classify`` is the default kind, and its flag ``multi_label`` a kind.

    With several labels all is another: target, loss, columns, metrics. Who looks for it looks in ``classify``.
    """
    if not isinstance(section, Mapping):
        return section
    settings = {"kind": "classify", **section}
    if settings["kind"] == "classify" and settings.pop("multi_label", False) is True:
        settings["kind"] = "multi_label"
    return settings


ObjectiveConfig = Annotated[
    ClassifyConfig | MultiLabelConfig | RegressConfig,
    Field(discriminator="kind"),
    BeforeValidator(_in_full),
]
