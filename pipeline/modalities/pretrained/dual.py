"""The two ways through a dual encoder of transformers: that of texts and that of images."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pipeline.modalities.pretrained.towers import pooled


class TextFeatures(nn.Module):
    """A dual encoder's way of texts."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tokens: Tensor) -> Tensor:
        inputs = dict(zip(self.names, tokens, strict=True))
        return pooled(self.model.get_text_features(**inputs))


class ImageFeatures(nn.Module):
    """A dual encoder's way of images."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return pooled(self.model.get_image_features(pixel_values=pixels))
