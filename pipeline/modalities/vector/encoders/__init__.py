"""Encoders of vectors: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.modalities.base import EncoderConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.vector import VectorConfig
    from pipeline.modalities.vector.encoders.standardize import Standardize

Layers = Annotated[int, Field(ge=1, le=24)]
Dropout = Annotated[float, Field(ge=0, lt=1, description="inside the layers")]


class VectorMlpConfig(EncoderConfig):
    """A perceptron over all values at once, which become one token."""

    kind: Literal["mlp"] = "mlp"
    layers: Annotated[Layers, Field(description="hidden layers")] = 2
    hidden: Annotated[int, Field(ge=8, le=65536, description="width of the hidden layers")] = 128
    dropout: Dropout = 0.1

    def build(self, modality: VectorConfig, width: int) -> nn.Module:
        """Builds the network: float32 (B, 2, *shape) -> Features of ``width`` channels."""
        from pipeline.modalities.vector.encoders.mlp import VectorMlp

        return VectorMlp(_inputs(modality), width, self.layers, self.hidden, self.dropout)


class VectorCnnConfig(EncoderConfig):
    """A residual CNN along time, or along the features; its depth grows with their number."""

    kind: Literal["cnn"] = "cnn"
    kernel_size: Annotated[
        int, Field(ge=3, le=127, description="steps that a convolution sees, an odd number")
    ] = 5

    def build(self, modality: VectorConfig, width: int) -> nn.Module:
        """Builds the network: float32 (B, 2, *shape) -> Features of ``width`` channels."""
        from pipeline.modalities.vector.encoders.cnn import VectorCnn

        return VectorCnn(_inputs(modality), width, self.kernel_size | 1)


class VectorTransformerConfig(EncoderConfig):
    """A transformer over stretches of time, or of the features."""

    kind: Literal["transformer"] = "transformer"
    layers: Annotated[Layers, Field(description="transformer layers")] = 2
    tokens: Annotated[
        int, Field(ge=1, le=4096, description="that a vector is cut into, at most")
    ] = 32
    dropout: Dropout = 0.1

    def build(self, modality: VectorConfig, width: int) -> nn.Module:
        """Builds the network: float32 (B, 2, *shape) -> Features of ``width`` channels."""
        from pipeline.modalities.vector.encoders.transformer import VectorTransformer

        return VectorTransformer(_inputs(modality), width, self.layers, self.tokens, self.dropout)


def _inputs(modality: VectorConfig) -> Standardize:
    from pipeline.modalities.vector.encoders.standardize import Standardize

    return Standardize(modality.shape, fill=modality.non_finite == "mean")


VectorEncoderConfig = Annotated[
    VectorMlpConfig | VectorCnnConfig | VectorTransformerConfig, Field(discriminator="kind")
]
