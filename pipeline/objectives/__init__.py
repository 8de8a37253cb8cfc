"""Objectives say what a model is for; the union of their configurations.

To add one: write ``NAME/`` beside this file and list its configuration in the union; see
:mod:`pipeline.objectives.base`. The union imports no torch; building a network does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field, SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator

from pipeline.objectives.base import ObjectiveSection
from pipeline.objectives.caption import CaptionConfig
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.contrast import ContrastConfig
from pipeline.objectives.gan import GanConfig
from pipeline.objectives.multi_label import MultiLabelConfig
from pipeline.objectives.regress import RegressConfig
from pipeline.objectives.transcribe import TranscribeConfig
from pipeline.objectives.vae import VaeConfig
from pipeline.plugins import Plugin


class _PythonObjective(Plugin):
    """An objective of your own, by its class; see [your own models](own-models.md)."""

    CONTRACT = ObjectiveSection
    NOUN = "an objective"


if TYPE_CHECKING:
    PythonObjective = ObjectiveSection  # what validation makes of it
else:
    PythonObjective = _PythonObjective


def _in_full(section: object, handler: ValidatorFunctionWrapHandler) -> Any:
    """A section as it may be written in short: ``classify`` is the default kind, and its flag ``multi_label`` a kind.

    With several labels all is another: target, loss, columns, metrics. Who looks for it looks in ``classify``.
    """
    if not isinstance(section, Mapping):
        return section if isinstance(section, ObjectiveSection) else handler(section)
    settings = {"kind": "classify", **section}
    if settings["kind"] == "classify" and settings.pop("multi_label", False) is True:
        settings["kind"] = "multi_label"
    return handler(settings)


ObjectiveConfig = Annotated[
    ClassifyConfig
    | MultiLabelConfig
    | RegressConfig
    | ContrastConfig
    | CaptionConfig
    | TranscribeConfig
    | VaeConfig
    | GanConfig
    | PythonObjective,
    Field(discriminator="kind"),
    WrapValidator(_in_full),
    SerializeAsAny(),
]


def kinds() -> Sequence[type[ObjectiveSection]]:
    """The sections of the objectives of this project, in the union's order."""
    members = get_args(get_args(ObjectiveConfig)[0])
    return [member for member in members if issubclass(member, ObjectiveSection)]
