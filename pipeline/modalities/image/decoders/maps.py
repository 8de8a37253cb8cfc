"""The network that makes images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import Chance
from pipeline.modalities.rendering.base import Prepared
from pipeline.modalities.rendering.maps import MapDecoder

WHITE = 255.0


class ImageRenderer(nn.Module):
    """Decodes latents to the logits of three colours; see :class:`pipeline.modalities.rendering.base.Renderer`.

    Args:
        size: Height and width, pixels.
        width: Numbers of a latent (D); 0 for no network.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.decoder = MapDecoder(width, 3, (size, size)) if width else nn.Identity()

    def prepare(self, values: Tensor) -> Prepared:
        """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) from 0 to 1."""
        return Prepared(values.permute(0, 3, 1, 2).to(torch.float32) / WHITE)

    def forward(self, latent: Tensor) -> Tensor:
        """float (B, D) -> (B, 3, H, W)."""
        logits: Tensor = self.decoder(latent)
        return logits

    def finish(self, values: Tensor, chance: Chance) -> Tensor:
        """float32 (B, H, W, 3) from 0 to 255."""
        return values.float().clamp(0, 1).permute(0, 2, 3, 1) * WHITE

    def fit(self, statistics: object) -> None:
        """Needs to know nothing."""
