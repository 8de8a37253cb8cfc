"""timm's image networks, without their classifier."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from torch import nn

from pipeline.errors import ConfigError, ModelError
from pipeline.modalities.inputs import ImageInput
from pipeline.modalities.pretrained.base import (
    EncoderDescription,
    digest_of,
    local_file,
    read_json,
    unknown_name,
)
from pipeline.modalities.pretrained.towers import ImageTower
from pipeline.modalities.pretrained.weights import fill, read_weights, weights_file, without_weights

CONFIG = "config.json"  # that timm writes beside weights


def describe(name: str, weights: str) -> EncoderDescription:
    """An image network of timm; the embedding is what its classifier is given.

    The preprocessing is that of the name, with its tag (``resnet50.a1_in1k``), or of config.json beside the weights
    where they are a folder as timm writes it.
    """
    if ":" in name or not timm.is_model(name):
        architecture, names = name.partition(".")[0], timm.list_models()
        raise unknown_name(f"timm has no model {name}", architecture, names, "timm.list_models()")
    folder = local_file(weights, "infer.weights=")
    weights_file(folder)
    digest, size = digest_of(folder)
    settings = _settings(name, folder)
    network = without_weights(partial(_build, name, settings))
    inputs = _input(name, network)
    device = next(network.parameters()).device
    with torch.inference_mode():
        width = network(torch.zeros(1, 3, inputs.size, inputs.size, device=device)).shape[-1]
    return EncoderDescription(
        f"timm:{name}", weights, {"image": inputs}, width, False, digest, size
    )


def build(name: str, inputs: ImageInput, weights: str | None) -> ImageTower:
    """Builds the network, without weights where none are named."""
    if weights is not None:
        return ImageTower(_filled(name, weights), inputs)
    return ImageTower(_build(name, {"input_size": (3, inputs.size, inputs.size)}), inputs)


def _filled(name: str, weights: str) -> nn.Module:
    """The network with weights; those in the format of its authors are converted as timm does it."""
    folder = local_file(weights, "infer.weights=")
    path = weights_file(folder)
    settings, state = _settings(name, folder), read_weights(path)
    network = _build(name, settings)
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    heads = config.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else heads
    try:
        fill(network, state, path, spare=[f"{head}." for head in heads])
    except ModelError:
        converted = _converted(name, settings, state)
        if converted is None:
            raise
        network = converted
    return network


def _settings(name: str, folder: Path) -> dict[str, Any]:
    """What config.json in a folder says of the preprocessing."""
    config = read_json(folder / CONFIG) if folder.is_dir() else {}
    architecture = config.get("architecture")
    if architecture is not None and architecture != name.partition(".")[0]:
        raise ModelError(
            f"the weights are of {architecture}",
            where=str(folder),
            fix=f"set infer.model=timm:{architecture}",
        )
    keys = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "classifier")
    saved = config.get("pretrained_cfg") or {}
    return {key: saved[key] for key in keys if key in saved}


def _build(name: str, settings: dict[str, Any]) -> nn.Module:
    network: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=0, pretrained_cfg_overlay=settings
    )
    return network.eval()


def _converted(name: str, settings: dict[str, Any], state: dict[str, Any]) -> nn.Module | None:
    """The network with weights that timm converts; None where it cannot either."""
    # Without anywhere else that timm could take weights from.
    places = dict.fromkeys(("url", "file", "hf_hub_id", "source"), "")
    overlay = {**settings, **places, "state_dict": state, "custom_load": False}
    try:
        network: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        network.reset_classifier(0)
    except (RuntimeError, KeyError, AttributeError, ValueError):
        return None
    built: nn.Module = network.eval()
    return built


def _input(name: str, network: nn.Module) -> ImageInput:
    config = resolve_model_data_config(network)
    _, height, width = config["input_size"]
    mode = config.get("crop_mode") or "center"
    if height != width or mode == "border":
        raise ConfigError(
            f"timm:{name} looks at images of {width} x {height} pixels, crop mode {mode}",
            where="infer.model",
            fix="choose a model of square images without borders",
        )
    return ImageInput(
        resize=math.floor(height / config["crop_pct"]),
        size=height,
        filter=config["interpolation"],
        squash=mode == "squash",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
