"""Encoders of images: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.pretrained.section import PretrainedConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.facets import TrainingStatistics
    from pipeline.modalities.image import ImageConfig


class ImageCnnConfig(EncoderConfig):
    """A small residual CNN; its depth grows with the size of the images."""

    kind: Literal["cnn"] = "cnn"

    def build(self, modality: ImageConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.image.encoders.cnn import ImageEncoder

        return ImageEncoder(size=modality.size, width=width)


class ImageResNetConfig(EncoderConfig):
    """A residual network, trained from scratch: more layers than the small CNN, for more samples."""

    kind: Literal["resnet"] = "resnet"
    depth: Annotated[Literal[10, 18, 34], Field(description="layers with weights")] = 18
    channels: Annotated[
        int, Field(ge=4, le=512, description="of the first of four stages; each has twice as many")
    ] = 64
    stem: Annotated[
        Literal["large", "small"],
        Field(
            description="first layer: large leaves a quarter of each side, small all of it, for images up to 64 pixels"
        ),
    ] = "large"

    def build(self, modality: ImageConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.image.encoders.resnet import ImageResNet

        small_stem = self.stem == "small"
        return ImageResNet(modality.size, width, self.depth, self.channels, small_stem=small_stem)


class ImageViTConfig(EncoderConfig):
    """A vision transformer, trained from scratch: for many samples."""

    kind: Literal["vit"] = "vit"
    patch: Annotated[
        int | None,
        Field(
            ge=2,
            le=256,
            description="side of a patch in pixels; an eighth of the image, 16 at most, unless told",
        ),
    ] = None
    layers: Annotated[int, Field(ge=1, le=48, description="transformer layers")] = 4
    heads: Annotated[int, Field(ge=1, le=64, description="of the attention")] = 4
    head_channels: Annotated[int, Field(ge=4, le=256, description="of each of the heads")] = 32
    dropout: Annotated[float, Field(ge=0, lt=1, description="inside the layers")] = 0.1

    def build(self, modality: ImageConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.image.encoders.vit import ImageViT

        patch = self.patch or min(16, -(-modality.size // 8))
        inner = self.heads * self.head_channels
        return ImageViT(modality.size, width, patch, self.layers, self.heads, inner, self.dropout)


class ImageStatisticsConfig(EncoderConfig):
    """Histograms of edges and colours: strong where there are few images."""

    kind: Literal["statistics"] = "statistics"
    told: Annotated[
        Literal["edges", "colours", "looks"],
        Field(
            description="edges by place with colours, where which colours are alone, or edges with colours, hues and "
            "how uneven fields are"
        ),
    ] = "edges"
    layers: Annotated[int, Field(ge=0, le=24, description="hidden layers")] = 1
    hidden: Annotated[int, Field(ge=8, le=65536, description="width of the hidden layers")] = 128
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="of the statistics, and behind the layers")
    ] = 0.5

    def training_statistics(self, modality: ImageConfig) -> TrainingStatistics:  # type: ignore[override]
        from pipeline.modalities.image.encoders.statistics import PictureStatistics

        return PictureStatistics(self.told, modality.size)

    def build(self, modality: ImageConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.image.encoders.statistics import ImageStatistics

        return ImageStatistics(self.told, width, self.layers, self.hidden, self.dropout)


class ImagePretrainedConfig(PretrainedConfig):
    """An image network from elsewhere; it decides the size of the images, and how they are resized."""

    MODALITY = "image"


ImageEncoderConfig = Annotated[
    ImageCnnConfig
    | ImageResNetConfig
    | ImageViTConfig
    | ImageStatisticsConfig
    | ImagePretrainedConfig,
    Field(discriminator="kind"),
]
