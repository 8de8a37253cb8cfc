"""Classification: which one of K classes does a sample belong to? Its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import pyarrow as pa
from pydantic import Field

from pipeline.modalities.base import Section
from pipeline.models.fusion import AttentionConfig, FusionConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.objectives.classify.model import Classifier

Probability = Annotated[float, Field(ge=0, lt=1)]


class ClassifyConfig(Section):
    """A classifier of samples with any subset of the modalities."""

    kind: Literal["classify"] = "classify"
    label: Annotated[
        str, Field(description="field with the label, or json.path inside a JSON field")
    ] = "cls"
    classes: Annotated[
        list[str] | None, Field(description="class names; by default those in the training set")
    ] = None
    fusion: FusionConfig = AttentionConfig()
    width: Annotated[
        int, Field(ge=32, multiple_of=32, description="channels of tokens and embedding")
    ] = 64
    dropout: Annotated[Probability, Field(description="of the embedding's channels")] = 0.1
    modality_dropout: Annotated[
        Probability, Field(description="how often training hides a modality; never all of a sample")
    ] = 0.2
    label_smoothing: Annotated[
        Probability, Field(description="share of the target that is spread over all classes")
    ] = 0.05
    unimodal_weight: Annotated[
        float, Field(ge=0, description="weight of the loss with one modality alone")
    ] = 1.0

    def build(self, encoders: Mapping[str, nn.Module], classes: Sequence[str]) -> Classifier:
        """Builds the network.

        Args:
            encoders: Modality -> encoder of ``width`` channels, in the order of the configuration.
            classes: The K class names, in the order of the label's ids.
        """
        from pipeline.objectives.classify.model import Classifier

        return Classifier(self, encoders, classes)

    # Shadows a deprecated class method of pydantic that nothing here calls.
    def schema(self, classes: Sequence[str]) -> list[pa.Field]:  # type: ignore[override]
        """The columns that predictions add to the output, in order."""
        return [
            pa.field("prediction", pa.string()),
            pa.field("score", pa.float32()),
            pa.field("probabilities", pa.list_(pa.float32(), len(classes))),
            pa.field("embedding", pa.list_(pa.float32(), self.width)),
        ]
