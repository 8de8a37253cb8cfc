"""The ways through a dual encoder of transformers: that of texts, that of images, and that of sounds."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pipeline.modalities.pretrained.towers import pooled

# Kind of modality -> the parts of a dual encoder that it goes through.
WAYS = {
    "image": ("vision_model", "visual_projection"),
    "text": ("text_model", "text_projection"),
    "audio": ("audio_model", "audio_projection"),
}


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


def leave_one_way(model: nn.Module, modality: str) -> None:
    """Takes out of a dual encoder all that one kind of modality does not go through."""
    names = {path.partition(".")[0] for path, _ in model.named_parameters()}
    for name in names - set(WAYS[modality]):
        delattr(model, name)
