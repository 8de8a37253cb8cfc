"""Encoders of sounds: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.facets import Timing
from pipeline.modalities.pretrained.section import PretrainedConfig

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from pipeline.modalities.audio import AudioConfig
    from pipeline.modalities.facets import TrainingStatistics


Layers = Annotated[int, Field(ge=1, le=24)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class InTimeConfig(EncoderConfig):
    """An encoder whose tokens follow one another in time, up to the end of a sound."""

    def ends(self, modality: AudioConfig, values: np.ndarray) -> np.ndarray:
        from pipeline.modalities.audio.mel import seconds_before_end

        return seconds_before_end(values, modality.spectrograms().seconds_per_frame)


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
    layers: Annotated[Layers, Field(description="transformer layers")] = 2
    dropout: Annotated[Dropout, Field(description="inside the layers")] = 0.1

    def build(self, modality: AudioConfig, width: int) -> nn.Module:
        """Builds the network: float16 (B, F, N), dB -> Features of ``width`` channels."""
        from pipeline.modalities.audio.encoders.transformer import AudioTransformer

        num_mels, num_frames = modality.spectrograms().shape
        return AudioTransformer(num_mels, num_frames, width, self.layers, self.dropout)


class AudioPatchesConfig(InTimeConfig):
    """A transformer over patches of time and frequency: for many sounds."""

    kind: Literal["patches"] = "patches"
    patch: Annotated[int, Field(ge=2, le=128, description="side, in mel bins and in frames")] = 16
    stride: Annotated[
        int,
        Field(ge=1, le=128, description="from one patch to the next; below patch, they overlap"),
    ] = 16
    layers: Annotated[Layers, Field(description="transformer layers")] = 4
    dropout: Annotated[Dropout, Field(description="inside the layers, and before them")] = 0.1

    @model_validator(mode="after")
    def _without_gaps(self) -> AudioPatchesConfig:
        if self.stride > self.patch:
            raise ValueError("stride must not be above patch: what lies between would not be seen")
        return self

    def build(self, modality: AudioConfig, width: int) -> nn.Module:
        """Builds the network: float16 (B, F, N), dB -> Features of ``width`` channels."""
        from pipeline.modalities.audio.encoders.patches import AudioPatches

        num_mels, num_frames = modality.spectrograms().shape
        return AudioPatches(
            num_mels, num_frames, width, self.patch, self.stride, self.layers, self.dropout
        )

    def timing(self, modality: AudioConfig) -> Timing:
        from pipeline.modalities.audio.encoders.patches import columns_of

        codec = modality.spectrograms()
        frames, columns = columns_of(codec.shape[1], self.patch, self.stride)
        return Timing(frames * codec.seconds_per_frame, columns)


class AudioCrnnConfig(InTimeConfig):
    """A small CNN, and a recurrent network along what it leaves of the time: for sounds whose order matters."""

    kind: Literal["crnn"] = "crnn"
    layers: Annotated[Layers, Field(description="recurrent layers, of GRUs in both directions")] = 1
    dropout: Annotated[Dropout, Field(description="before and between the recurrent layers")] = 0.1

    def build(self, modality: AudioConfig, width: int) -> nn.Module:
        """Builds the network: float16 (B, F, N), dB -> Features of ``width`` channels."""
        from pipeline.modalities.audio.encoders.crnn import AudioCrnn

        num_mels, num_frames = modality.spectrograms().shape
        return AudioCrnn(num_mels, num_frames, width, self.layers, self.dropout)

    def timing(self, modality: AudioConfig) -> Timing:
        from pipeline.modalities.audio.encoders.crnn import tokens_of

        codec = modality.spectrograms()
        tokens = tokens_of(*codec.shape)
        return Timing(codec.shape[1] / tokens * codec.seconds_per_frame, tokens)


class AudioSequenceConfig(InTimeConfig):
    """A small CNN, and what reads its tokens in both directions, one every so many milliseconds: for what is said."""

    kind: Literal["sequence"] = "sequence"
    token_ms: Annotated[
        Literal[10, 20, 40, 80],
        Field(description="milliseconds of a token; speech wants one or two for each symbol"),
    ] = 40
    context: Annotated[
        Literal["lstm", "gru", "transformer"], Field(description="network that reads the tokens")
    ] = "lstm"
    layers: Annotated[Layers, Field(description="of that network")] = 2
    dropout: Annotated[Dropout, Field(description="before that network, and inside")] = 0.1

    @property
    def _halvings(self) -> int:
        return (self.token_ms // 10).bit_length() - 1

    def build(self, modality: AudioConfig, width: int) -> nn.Module:
        """Builds the network: float16 (B, F, N), dB -> Features of ``width`` channels."""
        from pipeline.modalities.audio.encoders.sequence import AudioSequence

        return AudioSequence(
            modality.num_mels, width, self._halvings, self.context, self.layers, self.dropout
        )

    def timing(self, modality: AudioConfig) -> Timing:
        codec, frames = modality.spectrograms(), 1 << self._halvings
        return Timing(frames * codec.seconds_per_frame, -(-codec.shape[1] // frames))


class AudioStatisticsConfig(EncoderConfig):
    """Statistics over time of mel bins and cepstral coefficients: strong where there are few sounds."""

    kind: Literal["statistics"] = "statistics"
    told: Annotated[
        Literal["tracks", "traits"],
        Field(
            description="bins and coefficients alone, or beside them loudness, shape of the spectrum, rhythm, course "
            "and correlations, each of which counts as much as all the bins"
        ),
    ] = "tracks"
    coefficients: Annotated[
        int, Field(ge=1, le=256, description="cepstral coefficients, of num_mels at most")
    ] = 20
    layers: Annotated[int, Field(ge=0, le=24, description="hidden layers")] = 1
    hidden: Annotated[int, Field(ge=8, le=65536, description="width of the hidden layers")] = 128
    dropout: Annotated[Dropout, Field(description="of the statistics, and behind the layers")] = 0.5

    def training_statistics(self, modality: AudioConfig) -> TrainingStatistics:  # type: ignore[override]
        from pipeline.modalities.audio.encoders.statistics import SoundStatistics

        shape = modality.spectrograms().shape
        return SoundStatistics(self.told, *shape, self._coefficients(modality))

    def build(self, modality: AudioConfig, width: int) -> nn.Module:
        """Builds the network: float16 (B, F, N), dB -> Features of ``width`` channels."""
        from pipeline.modalities.audio.encoders.statistics import AudioStatistics

        return AudioStatistics(
            self.told,
            modality.num_mels,
            self._coefficients(modality),
            width,
            self.layers,
            self.hidden,
            self.dropout,
        )

    def _coefficients(self, modality: AudioConfig) -> int:
        return min(self.coefficients, modality.num_mels)


class AudioPretrainedConfig(PretrainedConfig):
    """A network of sounds from elsewhere; it decides their rate and length, and makes features of its own of them."""

    MODALITY = "audio"


AudioEncoderConfig = Annotated[
    AudioCnnConfig
    | AudioTransformerConfig
    | AudioPatchesConfig
    | AudioCrnnConfig
    | AudioSequenceConfig
    | AudioStatisticsConfig
    | AudioPretrainedConfig,
    Field(discriminator="kind"),
]
