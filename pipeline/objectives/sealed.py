"""An objective and a bundle: the network that a bundle holds, its columns, and whether a configuration asks for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from pydantic import TypeAdapter

from pipeline.errors import ModelError, in_words
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.facets import Fitted, Frozen
from pipeline.models.bundle import Bundle
from pipeline.models.differences import differences, shown
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.base import EMBEDDING, Learned, ObjectiveSection

if TYPE_CHECKING:
    from pipeline.objectives.network import Objective


def build(
    config: ObjectiveSection,
    modalities: ModalitiesConfig,
    learned: Learned,
    statistics: Mapping[str, Mapping[str, Any]] | None = None,
    embedded: Collection[str] = (),
) -> Objective:
    """Builds an untrained network for the configured modalities.

    Args:
        config: The objective's section.
        modalities: What the network is given.
        learned: What the objective has learned of the training split's targets.
        statistics: Modality -> what its encoder is to know of the training set; a bundle's weights hold it.
        embedded: Modalities of which the network is given what their frozen encoders made of them.
    """
    encoders = {
        name: modality.build_encoder(config.width)
        for name, modality in modalities.by_name().items()
    }
    for name, values in (statistics or {}).items():
        cast(Fitted, encoders[name]).fit(values)
    for name in embedded:
        cast(Frozen, encoders[name]).takes_embeddings = True
    network = config.build(encoders, learned)
    network.fit(statistics or {})
    return network


def restore(bundle: Bundle) -> Objective:
    """Builds the network of a bundle, with its weights, in evaluation mode.

    Raises:
        ModelError: The weights are not those of such a network.
    """
    model = build(objective_of(bundle), bundle.modalities, bundle.learned)
    try:
        model.load_state_dict(bundle.state())
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the network: {in_words(error)}",
            where="weights.safetensors",
            fix="the bundle was made by another version of this software; train it again",
        ) from None
    return model.eval()


def objective_of(bundle: Bundle) -> ObjectiveSection:
    """The objective that a bundle was trained for."""
    config: ObjectiveSection = TypeAdapter(ObjectiveConfig).validate_python(bundle.objective)
    return config


def prediction_fields(bundle: Bundle, *, float16: bool) -> list[pa.Field]:
    """The columns that a bundle's predictions add to the output, the embedding first."""
    config = objective_of(bundle)
    fields = sorted(config.schema(bundle.learned), key=lambda field: field.name != EMBEDDING)
    return [_in_half(field) if float16 else field for field in fields]


def _in_half(field: pa.Field) -> pa.Field:
    """An embedding's column as float16, any other as it is."""
    if field.name != EMBEDDING and not field.name.endswith(f"_{EMBEDDING}"):
        return field
    return pa.field(field.name, pa.list_(pa.float16(), field.type.list_size))


def check_objective(bundle: Bundle, configured: Mapping[str, Any] | None, where: str) -> None:
    """Compares a configuration's objective with the bundle's own; where none is configured, nothing speaks against.

    Args:
        bundle: The trained model.
        configured: The section as JSON; what is not said has its default for the samples that the model is of.
        where: The place that the error names.

    Raises:
        ModelError: They differ; names the setting.
    """
    if configured is None:
        return
    ours = objective_of(bundle).resolved(bundle.learned)
    theirs = dict(configured)
    if theirs.get("kind") == ours["kind"]:
        config: ObjectiveSection = TypeAdapter(ObjectiveConfig).validate_python(configured)
        config = config.for_samples(bundle.sized_for, objective_of(bundle))
        theirs = config.resolved(bundle.learned)
    for name, left, right in differences("objective", ours, theirs):
        raise ModelError(
            f"{name} is {shown(right)} in the configuration and {shown(left)} in the model",
            where=where,
            fix=f"set {name}={shown(left)}, leave the objective out, or train the model again",
        )
