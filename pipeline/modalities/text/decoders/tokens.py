"""The network that makes texts, all tokens at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import Chance
from pipeline.modalities.layers import TransformerBlock
from pipeline.modalities.rendering.base import Prepared
from pipeline.modalities.text.augment import PAD

LAYERS, HEADS = 2, 4


class TextRenderer(nn.Module):
    """Decodes latents to logits of tokens; see :class:`pipeline.modalities.rendering.base.Renderer`.

    Every place of a text is the latent and what is learned of the place, and the places look at each other; no token
    waits for the one before it.

    Args:
        length: Tokens of a text (L).
        symbols: Ids that there may be (K).
        width: Numbers of a latent (D), a multiple of 4.

    Source:
        Gu et al. 2018, "Non-autoregressive neural machine translation", section 3, of decoding all places at once.
    """

    def __init__(self, length: int, symbols: int, width: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(length, width) * 0.5)
        self.blocks = nn.ModuleList(TransformerBlock(width, HEADS, 0.0) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, symbols)

    def prepare(self, values: Tensor) -> Prepared:
        """int64 (B, L) ids; what stands behind the first that stands for no token is not counted."""
        ends = (values == PAD).cumsum(dim=1)
        return Prepared(values, ends <= 1)

    def forward(self, latent: Tensor) -> Tensor:
        """float (B, D) -> (B, L, K)."""
        tokens = latent[:, None] + self.places
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask)
        logits: Tensor = self.last(self.norm(tokens))
        return logits

    def finish(self, values: Tensor, chance: Chance) -> Tensor:
        """float32 (B, L) ids, which float32 holds exactly."""
        return values.float()

    def fit(self, statistics: object) -> None:
        """Needs to know nothing."""
