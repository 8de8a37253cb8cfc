"""Bundles of small networks that nobody trained: real ones all the same, and made in a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import load
from pipeline.models.bundle import Bundle


def seal(
    config_path: Path,
    folder: Path,
    learned: Sequence[str] | Mapping[str, Any],
    texts: Sequence[str],
    training: Mapping[str, Any] | None = None,
) -> Bundle:
    """Writes a bundle of the configuration's network with the weights that it begins with.

    Args:
        config_path: The configuration.
        folder: Where to.
        learned: What its objective has learned; names are those of classes.
        texts: What its tokenizer is trained on.
        training: What the bundle says of its training.
    """
    import torch
    from safetensors.torch import save

    from pipeline.objectives.sealed import build

    config = load(config_path)
    objective = config.require_objective()
    tokenizers = [each.train(iter(texts)) for each in config.modalities.tokenized().values()]
    if not isinstance(learned, Mapping):
        learned = {"classes": list(learned)}
    torch.manual_seed(0)
    weights = build(objective, config.modalities, learned).state_dict()
    bundle = Bundle.of(
        objective=objective.model_dump(mode="json"),
        modalities=config.modalities,
        learned=learned,
        tokenizer=tokenizers[0] if tokenizers else None,
        metrics={},
        training=training or {},
        weights=save({name: value.contiguous() for name, value in weights.items()}),
    )
    bundle.save(str(folder))
    return bundle
