"""Small random changes to texts while training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance

PAD = 0  # the id that stands for no token


@dataclass(frozen=True, slots=True)
class TextAugmentation:
    """Drops tokens of each text of a batch by chance; the others stay at their places.

    Attributes:
        drop_probability: Of dropping a token. A text that would lose all its tokens keeps them.
        spares_ends: Whether a text's first and last token are never dropped.
    """

    drop_probability: float = 0.1
    spares_ends: bool = False

    def __call__(self, values: Tensor, chance: Chance) -> Tensor:
        """Changes a batch.

        Args:
            values: int64 (B, L), 0 where there is no token.
            chance: Of the batch's samples; nothing else is drawn from.

        Returns:
            int64 (B, L).
        """
        drawn = chance.uniform(*values.shape[1:])
        if self.spares_ends:
            last = (values != PAD).sum(dim=1, keepdim=True).clamp(min=1) - 1
            drawn[:, :1] = 1.0
            drawn.scatter_(1, last, 1.0)
        dropped = values.masked_fill(drawn < self.drop_probability, PAD)
        return torch.where((dropped != PAD).any(dim=1, keepdim=True), dropped, values)
