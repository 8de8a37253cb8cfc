"""How a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from pipeline.training.optimization.optimizers import OptimizerName
from pipeline.training.optimization.schedule import Schedule

OnNan = Literal["stop", "skip"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: Passes over the samples, in all.
        optimizer: Of the turns that have none of their own.
        learning_rate: Highest, of the configured optimizer.
        weight_decay: Of the configured optimizer.
        warmup_fraction: Share of all steps with a rising learning rate.
        schedule: Of the learning rate behind those steps.
        max_gradient_norm: Of one turn's gradients; larger ones are scaled down to it.
        average_decay: Of the weights' moving average.
        precision: Of matrix products; gradients of float16 are scaled, and steps beyond its range are left out.
        rows_at_once: Rows of a share that are computed at a time, their gradients added up; all where None.
        on_nan: Whether a step whose loss or gradients are not finite ends the training, or is left out.
        seed: Of the network's own chance.
        settings: What is noted of each epoch, ready for JSON.
    """

    epochs: int
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_fraction: float = 0.0
    schedule: Schedule = "cosine"
    max_gradient_norm: float = 1.0
    average_decay: float = 0.0
    precision: torch.dtype = torch.float32
    rows_at_once: int | None = None
    on_nan: OnNan = "stop"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
