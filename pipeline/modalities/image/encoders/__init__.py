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

    from pipeline.modalities.image import ImageConfig


class ImageCnnConfig(EncoderConfig):
    """A small residual CNN; its depth grows with the size of the images."""

    kind: Literal["cnn"] = "cnn"

    def build(self, modality: ImageConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.image.encoders.cnn import ImageEncoder

        return ImageEncoder(size=modality.size, width=width)


class ImageResNetConfig(EncoderConfig):
    """A residual network of torchvision, trained from scratch."""

    kind: Literal["resnet"] = "resnet"
    depth: Annotated[Literal[18, 34], Field(description="layers with weights")] = 18

    def build(self, modality: ImageConfig, width: int) -> nn.Module:
        """Builds the network: uint8 (B, H, W, 3) -> Features of ``width`` channels."""
        from pipeline.modalities.image.encoders.resnet import ImageResNet

        return ImageResNet(modality.size, width, self.depth)


class ImagePretrainedConfig(PretrainedConfig):
    """An image network from elsewhere; it decides the size of the images, and how they are resized."""

    MODALITY = "image"


ImageEncoderConfig = Annotated[
    ImageCnnConfig | ImageResNetConfig | ImagePretrainedConfig, Field(discriminator="kind")
]
