"""Images: settings of decoding and of training-time augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipeline.modalities.base import ModalityConfig, Verify

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.image.codec import ImageCodec


class ImageConfig(ModalityConfig):
    """Images become ``size`` x ``size`` RGB: the short side is resized, the centre is kept."""

    fields: tuple[str, ...] = ("jpg", "jpeg", "png", "webp")
    size: int = Field(default=224, ge=8, le=2048)
    max_megapixels: float = Field(default=64.0, gt=0)

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> ImageCodec:
        from pipeline.modalities.image.codec import ImageCodec

        return ImageCodec(size=self.size, max_pixels=int(self.max_megapixels * 1e6))

    def encoder(self, width: int) -> nn.Module:
        from pipeline.modalities.image.nets import ImageEncoder

        return ImageEncoder(size=self.size, width=width)

    def augmentation(self) -> Any:
        from pipeline.modalities.image.augment import ImageAugmentation

        return ImageAugmentation()
