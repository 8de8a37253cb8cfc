"""Objectives say what a model is for; the union of their configurations.

To add one: write ``NAME/`` (or ``NAME.py``) beside this file and list its configuration in the union.
The union imports no torch; building a network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import TypeAdapter

from pipeline.errors import ModelError, in_words
from pipeline.modalities import ModalitiesConfig
from pipeline.objectives.classify import ClassifyConfig

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle
    from pipeline.objectives.classify.model import Classifier

# With a second objective: Annotated[ClassifyConfig | OtherConfig, Field(discriminator="kind")].
ObjectiveConfig = ClassifyConfig


def build(
    config: ObjectiveConfig, modalities: ModalitiesConfig, classes: Sequence[str]
) -> Classifier:
    """Builds an untrained network for the configured modalities."""
    encoders = {
        name: modality.build_encoder(config.width)
        for name, modality in modalities.by_name().items()
    }
    return config.build(encoders, classes)


def restore(bundle: Bundle) -> Classifier:
    """Builds the network of a bundle, with its weights, in evaluation mode.

    Raises:
        ModelError: The weights are not those of such a network.
    """
    model = build(objective_of(bundle), bundle.modalities, bundle.classes)
    try:
        model.load_state_dict(bundle.state())
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the network: {in_words(error)}",
            where="weights.safetensors",
            fix="the bundle was made by another version of this software; train it again",
        ) from None
    return model.eval()


def objective_of(bundle: Bundle) -> ObjectiveConfig:
    """The objective that a bundle was trained for."""
    config: ObjectiveConfig = TypeAdapter(ObjectiveConfig).validate_python(bundle.objective)
    return config


def prediction_fields(bundle: Bundle, *, float16: bool) -> list[pa.Field]:
    """The columns that a bundle's predictions add to the output, the embedding first."""
    config = objective_of(bundle)
    fields = sorted(config.schema(bundle.classes), key=lambda field: field.name != "embedding")
    if float16:
        fields[0] = pa.field("embedding", pa.list_(pa.float16(), config.width))
    return fields
