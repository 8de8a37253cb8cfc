"""Encoders of clips: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.encoders import (
    ImageCnnConfig,
    ImageEncoderConfig,
)

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.facets import TrainingStatistics
    from pipeline.modalities.inputs import ImageInput
    from pipeline.modalities.video import VideoConfig
    from pipeline.modalities.video.encoders.frames import FrameEncoder


class _OfFrames(EncoderConfig):
    """A network of images that sees each frame, and something that joins what it makes of them."""

    frame: ImageEncoderConfig = Field(
        default=ImageCnnConfig(), description="network that sees each frame: any of images"
    )

    @property
    def frame_inputs(self) -> ImageInput | None:
        """What a pretrained network of frames wants to be given."""
        inputs: Any = self.frame.inputs
        return inputs  # type: ignore[no-any-return]

    @property
    def has_own_inputs(self) -> bool:
        return self.frame.has_own_inputs

    def decoding(self) -> dict[str, Any]:
        return self.frame.decoding()

    def sealed(self) -> Self:
        return self.model_copy(update={"frame": self.frame.sealed()})

    def identity(self) -> dict[str, Any]:
        own = self.model_dump(mode="json", exclude={"frame"})
        return {**own, "frame": self.frame.identity()}

    def training_statistics(self, modality: VideoConfig) -> TrainingStatistics | None:  # type: ignore[override]
        from pipeline.modalities.video.encoders.frames import FrameStatistics

        size = modality.size
        of_images = self.frame.training_statistics(ImageConfig(size=size))
        return None if of_images is None else FrameStatistics(of_images, (size, size, 3))

    def build_frames(self, modality: VideoConfig, width: int) -> FrameEncoder:
        """Builds the network that sees frames: uint8 (B, N, H, W, 3) -> tokens of ``width`` channels of each."""
        from pipeline.modalities.video.encoders.frames import FrameEncoder

        return FrameEncoder(
            self.frame.build(ImageConfig(size=modality.size), width), modality.frames
        )


class VideoMeanConfig(_OfFrames):
    """The mean of what an image network makes of the frames; their order does not count."""

    kind: Literal["mean"] = "mean"

    def build(self, modality: VideoConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, N, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.video.encoders.mean import VideoMean

        return VideoMean(self.build_frames(modality, width), width)


class VideoAttentionConfig(_OfFrames):
    """A transformer over time: each frame becomes one token."""

    kind: Literal["attention"] = "attention"
    layers: Annotated[int, Field(ge=1, le=24, description="transformer layers")] = 1
    dropout: Annotated[float, Field(ge=0, lt=1, description="inside the layers")] = 0.1

    def build(self, modality: VideoConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, N, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.video.encoders.attention import VideoAttention

        frames = self.build_frames(modality, width)
        return VideoAttention(frames, width, self.layers, self.dropout)


class VideoStatisticsConfig(EncoderConfig):
    """Edges and colours of the frames, and how they change over time: strong where there are few clips."""

    kind: Literal["statistics"] = "statistics"
    told: Annotated[
        Literal["edges", "colours", "looks"],
        Field(description="of a frame, as of an image"),
    ] = "looks"
    layers: Annotated[int, Field(ge=0, le=24, description="hidden layers")] = 1
    hidden: Annotated[int, Field(ge=8, le=65536, description="width of the hidden layers")] = 128
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="of the statistics, and behind the layers")
    ] = 0.5

    @property
    def frame_inputs(self) -> ImageInput | None:
        """Frames are taken as the modality says."""
        return None

    def training_statistics(self, modality: VideoConfig) -> TrainingStatistics:  # type: ignore[override]
        from pipeline.modalities.video.encoders.statistics import ClipStatistics

        return ClipStatistics(self.told, modality.frames, modality.size)

    def build(self, modality: VideoConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, N, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.video.encoders.statistics import VideoStatistics

        return VideoStatistics(
            self.told, modality.frames, width, self.layers, self.hidden, self.dropout
        )


VideoEncoderConfig = Annotated[
    VideoAttentionConfig | VideoMeanConfig | VideoStatisticsConfig, Field(discriminator="kind")
]
