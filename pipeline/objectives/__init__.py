"""Objectives say what a model is for; the union of their configurations.

To add one: write ``NAME/`` beside this file and list its configuration in the union; see
:mod:`pipeline.objectives.base`. The union imports no torch; building a network does.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.multi_label import MultiLabelConfig
from pipeline.objectives.regress import RegressConfig

ObjectiveConfig = Annotated[
    ClassifyConfig | MultiLabelConfig | RegressConfig, Field(discriminator="kind")
]
