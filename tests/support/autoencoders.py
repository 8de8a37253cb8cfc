"""Small variational autoencoders for tests."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.chance import CHANCE
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.sealed import build
from pipeline.objectives.vae import VaeConfig
from pipeline.objectives.vae.model import VariationalAutoencoder

MODALITIES = ModalitiesConfig.model_validate(
    {
        "vector": {"fields": ["csv"], "shape": [6]},
        "other": {"kind": "vector", "fields": ["npy"], "shape": [3]},
        "image": {"fields": ["png"], "size": 8},
    }
)
NAMES = tuple(MODALITIES.by_name())
POSTERIORS: dict[str, dict[str, Any]] = {
    "product": {"kind": "product", "random_subsets": 1},
    "mixture": {"kind": "mixture"},
    "mixture_of_products": {"kind": "mixture_of_products"},
}
LABELS = ["cat", "dog", "emu"]


def config(**settings: Any) -> VaeConfig:
    tree = {"kind": "vae", "width": 32, "latent": 4, "label": "cls", **settings}
    return TypeAdapter(ObjectiveConfig).validate_python(tree)


def network_of(**settings: Any) -> VariationalAutoencoder:
    torch.manual_seed(0)
    objective = config(**settings)
    classes = {"classes": LABELS} if objective.label else {}
    learned = {**classes, **objective.about_inputs(MODALITIES.by_name())}
    network = build(objective, MODALITIES, learned)
    assert isinstance(network, VariationalAutoencoder)
    return network


def batch(count: int = 8, seed: int = 0, *, labelled: bool = True) -> dict[str, Tensor]:
    """Samples that have everything, each with a chance of its own."""
    generator = torch.Generator().manual_seed(seed)

    def vectors(size: int) -> Tensor:
        values = torch.randn(count, size, generator=generator)
        return torch.stack([values, torch.ones_like(values)], dim=1)

    samples = {
        "vector": vectors(6),
        "other": vectors(3),
        "image": torch.randint(0, 256, (count, 8, 8, 3), generator=generator, dtype=torch.uint8),
        CHANCE: torch.randint(1 << 62, (count,), generator=generator),
    }
    samples |= {f"{name}_present": torch.ones(count, dtype=torch.bool) for name in NAMES}
    if labelled:
        samples["label"] = torch.arange(count) % len(LABELS)
    return samples
