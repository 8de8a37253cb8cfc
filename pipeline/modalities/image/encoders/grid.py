"""What encoders of images share: pixels as they are first given to a network, and tokens in a grid."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.modalities.layers import Features

MAX_GRID = 7  # the features are at most MAX_GRID x MAX_GRID tokens


def as_pixels(values: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 (B, H, W, 3) -> (B, 3, H, W) in -1..1, channels last in memory."""
    return values.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1.0


def as_unit_range(values: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 (B, H, W, 3) -> (B, 3, H, W) in 0..1."""
    return values.permute(0, 3, 1, 2).to(dtype) / 255.0


def grid_features(tokens: Tensor) -> Features:
    """Features of tokens, float (B, L, D), all real."""
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return Features(tokens, mask)
