"""Encoders of images: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipeline.modalities.base import EncoderConfig

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


# With a second encoder: Annotated[ImageCnnConfig | OtherConfig, Field(discriminator="kind")].
ImageEncoderConfig = ImageCnnConfig
