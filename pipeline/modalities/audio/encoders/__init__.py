"""Encoders of sounds: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.pretrained.section import PretrainedConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.audio import AudioConfig


class AudioCnnConfig(EncoderConfig):
    """A small residual CNN; its depth grows with the length of the sounds."""

    kind: Literal["cnn"] = "cnn"

    def build(self, modality: AudioConfig, width: int) -> nn.Module:
        """Builds the network: float16 (B, F, N), dB -> Features of ``width`` channels."""
        from pipeline.modalities.audio.encoders.cnn import AudioEncoder

        num_mels, num_frames = modality.spectrograms().shape
        return AudioEncoder(num_mels=num_mels, num_frames=num_frames, width=width)


class AudioTransformerConfig(EncoderConfig):
    """A transformer over stretches of time."""

    kind: Literal["transformer"] = "transformer"
    layers: Annotated[int, Field(ge=1, le=24, description="transformer layers")] = 2
    dropout: Annotated[float, Field(ge=0, lt=1, description="inside the layers")] = 0.1

    def build(self, modality: AudioConfig, width: int) -> nn.Module:
        """Builds the network: float16 (B, F, N), dB -> Features of ``width`` channels."""
        from pipeline.modalities.audio.encoders.transformer import AudioTransformer

        num_mels, num_frames = modality.spectrograms().shape
        return AudioTransformer(num_mels, num_frames, width, self.layers, self.dropout)


class AudioPretrainedConfig(PretrainedConfig):
    """A network of sounds from elsewhere; it decides their rate and length, and makes features of its own of them."""

    MODALITY = "audio"


AudioEncoderConfig = Annotated[
    AudioCnnConfig | AudioTransformerConfig | AudioPretrainedConfig, Field(discriminator="kind")
]
