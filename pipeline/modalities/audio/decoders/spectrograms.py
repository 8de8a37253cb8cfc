"""The network that makes sounds: their spectrograms, whose phases are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.modalities.audio.griffin_lim import griffin_lim
from pipeline.modalities.chance import Chance
from pipeline.modalities.rendering.base import Prepared
from pipeline.modalities.rendering.maps import MapDecoder

if TYPE_CHECKING:
    from pipeline.modalities.audio.decoders import SoundRendering

# What 0 and 1 are, in dB: a full-scale tone has about 25 in its loudest bin, and a sound is heard 80 below its own.
LOWEST_DB, HIGHEST_DB = -80.0, 30.0


class SoundRenderer(nn.Module):
    """Decodes latents to logits of spectrograms; see :class:`pipeline.modalities.rendering.base.Renderer`.

    Args:
        rendering: What is made.
        width: Numbers of a latent (D); 0 for no network.
    """

    def __init__(self, rendering: SoundRendering, width: int) -> None:
        super().__init__()
        self.rendering = rendering
        self.decoder = MapDecoder(width, 1, rendering.shape[1:]) if width else nn.Identity()

    def prepare(self, values: Tensor) -> Prepared:
        """float (B, F, N) in dB -> float32 (B, 1, F, N) from 0 to 1."""
        share = (values.to(torch.float32) - LOWEST_DB) / (HIGHEST_DB - LOWEST_DB)
        return Prepared(share.clamp(0, 1)[:, None])

    def forward(self, latent: Tensor) -> Tensor:
        """float (B, D) -> (B, 1, F, N)."""
        logits: Tensor = self.decoder(latent)
        return logits

    def finish(self, values: Tensor, chance: Chance) -> Tensor:
        """float32 (B, T), sounds in -1..1 that have such spectrograms; their first phases are drawn."""
        share = values.float().clamp(0, 1)[:, 0]
        sounds = griffin_lim(
            LOWEST_DB + (HIGHEST_DB - LOWEST_DB) * share,
            sample_rate_hz=self.rendering.sample_rate_hz,
            num_samples=self.rendering.num_samples,
            window=self.rendering.window,
            hop=self.rendering.hop,
            chance=chance,
        )
        return sounds.clamp(-1, 1)

    def fit(self, statistics: object) -> None:
        """Needs to know nothing."""
