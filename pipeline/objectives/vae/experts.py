"""What single modalities say of the latent, and how a label is made of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import AttentionPool, Features

# Of the log-scale, so that no expert is so sure that the others are not heard, nor overflows.
LOWEST, HIGHEST = -4.0, 4.0


class ExpertHead(nn.Module):
    """A modality's tokens -> location and log-scale of a distribution of the latent.

    Args:
        width: D of the tokens.
        latent: Numbers of a latent.
    """

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.pool = AttentionPool(width)
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, 2 * latent)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """float (B, D) each."""
        return _halves(self.linear(self.norm(self.pool(features))))


class LabelEncoder(nn.Module):
    """The same of a label: a vector for each class, through a perceptron.

    Args:
        classes: Labels that there are (K).
        width: Of the perceptron.
        latent: Numbers of a latent.
    """

    def __init__(self, classes: int, width: int, latent: int) -> None:
        super().__init__()
        self.classes = classes
        self.layers = nn.Sequential(
            nn.Linear(classes, width), nn.GELU(), nn.Linear(width, 2 * latent)
        )

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (B,), -1 for none -> float (B, D) each."""
        ones = functional.one_hot(labels.clamp(min=0), self.classes)
        return _halves(self.layers(ones.to(torch.float32)))


class LabelRenderer(nn.Module):
    """A latent -> logits of a label.

    Args:
        classes: Labels that there are (K).
        width: Of what it is given, and of the perceptron.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, classes))

    def forward(self, latent: Tensor) -> Tensor:
        """float (B, D) -> (B, 1, K)."""
        logits: Tensor = self.layers(latent)
        return logits[:, None]


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Location and log-scale of what a layer gives; in single precision at least, whatever autocast makes of it."""
    wide = torch.promote_types(values.dtype, torch.float32)
    location, log_scale = values.to(wide).chunk(2, dim=-1)
    return location, log_scale.clamp(LOWEST, HIGHEST)
