"""The networks of the objective and of the modality; the only modules here that import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.modalities.layers import Features
from pipeline.objectives.fused.model import FusedNetwork
from pipeline.objectives.network import Batch

if TYPE_CHECKING:
    from .ordinal import OrdinalConfig


def unchanged(values: Tensor, chance: object) -> Tensor:
    return values


class BitsEncoder(nn.Module):
    """uint8 (B, L) -> one token."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(length, width)

    def forward(self, values: Tensor) -> Features:
        tokens = self.layer(values.float() * 2 - 1)[:, None]
        return Features(tokens, torch.ones(len(tokens), 1, dtype=torch.bool, device=tokens.device))


class OrdinalNetwork(FusedNetwork):
    """Logits of "above level k", for each level but the highest.

    Source: Frank & Hall 2001, "A simple approach to ordinal classification", section 2, for one network.
    """

    def __init__(
        self, config: OrdinalConfig, encoders: Mapping[str, nn.Module], levels: int
    ) -> None:
        super().__init__(config, encoders, levels - 1, ("level",))

    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        return {"level": torch.tensor([int(text) for text in texts])}

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        steps = torch.arange(outputs.shape[-1], device=outputs.device)
        above = (batch["level"][:, None] > steps).float()
        losses: Tensor = binary_cross_entropy_with_logits(outputs.float(), above, reduction="none")
        return losses.mean(dim=-1)

    def counted(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"off": ((outputs > 0).sum(dim=-1) - batch["level"]).abs().double()}

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        with torch.no_grad():
            embedding, logits = self.answer(batch)
            return {"embedding": embedding.float(), "above": logits.sigmoid()}

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        samples = max(1.0, sums["samples"])
        return {"loss": sums["loss"] / samples, "levels_off": sums["off"] / samples}
