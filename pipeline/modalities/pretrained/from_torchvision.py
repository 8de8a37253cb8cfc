"""torchvision's image classifiers, without their last layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode

from pipeline.errors import ConfigError
from pipeline.modalities.inputs import ImageInput
from pipeline.modalities.pretrained.base import (
    EncoderDescription,
    digest_of,
    local_file,
    unknown_name,
)
from pipeline.modalities.pretrained.towers import ImageTower
from pipeline.modalities.pretrained.weights import (
    check_fit,
    fill,
    read_weights,
    weights_file,
    without_weights,
)

# As the published weights of these two want to be run; their auxiliary heads are for training.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
SETTINGS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
FILTERS = {InterpolationMode.BILINEAR: "bilinear", InterpolationMode.BICUBIC: "bicubic"}


def describe(name: str, weights: str) -> EncoderDescription:
    """An image classifier of torchvision; the embedding is what its last layer is given.

    The preprocessing is that of the weights whose file name this is, and of the model's default weights otherwise.
    """
    names = models.list_models(module=models)
    if name not in names:
        what = f"torchvision has no classifier {name}"
        raise unknown_name(what, name, names, "torchvision.models.list_models()")
    path = weights_file(local_file(weights, "infer.weights="))
    digest, size = digest_of(path)
    inputs = _input(name, path)
    network, head, width = _headless(without_weights(partial(_build, name, inputs)), name)
    # Said before the job starts, rather than by its actors.
    check_fit(network, read_weights(path, "meta"), path, spare=[f"{head}.", *AUXILIARY])
    return EncoderDescription(
        f"torchvision:{name}", weights, {"image": inputs}, width, False, digest, size
    )


def build(name: str, inputs: ImageInput, weights: str | None) -> ImageTower:
    """Builds the network, without weights where none are named."""
    network, head, _ = _headless(_build(name, inputs), name)
    if weights is not None:
        path = weights_file(local_file(weights, "infer.weights="))
        fill(network, read_weights(path), path, spare=[f"{head}.", *AUXILIARY])
    return ImageTower(network, inputs)


def _build(name: str, inputs: ImageInput) -> nn.Module:
    settings = SETTINGS.get(name, {})
    if name.startswith("vit_"):  # whose positions are counted out for one size of image
        settings = {"image_size": inputs.size}
    network: nn.Module = models.get_model(name, weights=None, **settings)
    return network.eval()


def _headless(network: nn.Module, name: str) -> tuple[nn.Module, str, int]:
    """Takes the last linear layer off; returns the network, the layer's name, and what it was given (D)."""
    layers = [(at, layer) for at, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ConfigError(
            f"torchvision:{name} has no linear layer at its end, so no embedding before it",
            where="infer.model",
            fix="choose another model, such as torchvision:resnet50",
        )
    head, last = layers[-1]
    above, _, attribute = head.rpartition(".")
    setattr(network.get_submodule(above), attribute, nn.Identity())
    return network, head, last.in_features


def _input(name: str, path: Path) -> ImageInput:
    every = list(models.get_model_weights(name))
    default = models.get_model_weights(name).DEFAULT
    named = [weights for weights in every if weights.url.rpartition("/")[2] == path.name]
    preset = (named[0] if named else default).transforms()
    return ImageInput(
        resize=preset.resize_size[0],
        size=preset.crop_size[0],
        filter=FILTERS[preset.interpolation],  # type: ignore[arg-type]
        squash=False,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
