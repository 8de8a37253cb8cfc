"""Weights from files that cannot carry code, and how they get into a network."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import ModelError, in_words

NAMES = ("model.safetensors", "pytorch_model.bin", "model.pth")
WRAPPERS = (
    "state_dict",
    "model",
    "model_state",
    "module",
)  # keys that training scripts put weights under
# What reading a file raises that is no weights.
UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    OSError,
)
PREFIXES = ("module.", "_orig_mod.")  # that wrappers put before every name


def weights_file(path: Path) -> Path:
    """The file of the weights: the one that is named, or the one of a usual name in a folder.

    Raises:
        ModelError: The folder holds none.
    """
    if path.is_file():
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    raise ModelError(
        f"the folder holds none of {', '.join(NAMES)}",
        where=str(path),
        fix="set infer.weights to the file of the weights",
    )


def read_weights(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Reads a state dict; runs no code from it.

    Args:
        path: Of the file.
        device: ``cpu``, or ``meta`` for names and shapes alone.

    Raises:
        ModelError: Neither safetensors nor a plain dictionary of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            loaded: Any = _shapes(path) if device == "meta" else load_file(path)
        else:
            loaded = torch.load(path, map_location=device, weights_only=True)
    except UNREADABLE as error:
        raise ModelError(
            f"the weights cannot be read: {_why(error)}",
            where=str(path),
            fix="copy the file again; it must be .safetensors, or a state dict that torch.save wrote",
        ) from None
    for name in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(tensor, Tensor) for tensor in loaded.values()
    ):
        raise ModelError(
            "the file holds no state dict",
            where=str(path),
            fix="save model.state_dict(), as .safetensors or with torch.save",
        )
    state = dict(loaded)
    if not state:  # libraries take it for "none given", and fetch those that they know
        raise ModelError(
            "the file holds no weights",
            where=str(path),
            fix="save model.state_dict() of the whole network",
        )
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _why(error: Exception) -> str:
    """What is wrong with a file, without torch's advice to run what it holds."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is no state dict, or holds more than one"
    return in_words(error)


def _shapes(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return {
            name: torch.empty(file.get_slice(name).get_shape(), device="meta")
            for name in file.keys()  # noqa: SIM118 - it is no mapping
        }


def fill(
    network: nn.Module, state: Mapping[str, Tensor], path: Path, spare: Iterable[str] = ()
) -> None:
    """Gives a network its weights, all of them.

    Args:
        network: The network.
        state: The weights.
        path: Where they come from.
        spare: Beginnings of names that the network has no use for: those of a classifier that was taken off.

    Raises:
        ModelError: They are of another network.
    """
    spares = tuple(spare)
    used = {name: tensor for name, tensor in state.items() if not name.startswith(spares)}
    try:
        network.load_state_dict(used)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the network: {in_words(error)}",
            where=str(path),
            fix="set infer.model to the model that the weights are of",
        ) from None


def check_fit(
    network: nn.Module, state: Mapping[str, Tensor], path: Path, spare: Iterable[str] = ()
) -> None:
    """Compares names and shapes alone, so that a network without memory will do; arguments as of :func:`fill`.

    Raises:
        ModelError: They are of another network.
    """
    spares, expected = tuple(spare), network.state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items() if not name.startswith(spares)}
    # Checkpoints of long ago have no such counts, and networks do without.
    lacking = [
        name
        for name, tensor in expected.items()
        if shapes.get(name) != tensor.shape and not name.endswith("num_batches_tracked")
    ]
    if strange := [*lacking, *(set(shapes) - set(expected))]:
        raise ModelError(
            f"the weights do not fit the network: {len(strange)} differ, the first is {strange[0]}",
            where=str(path),
            fix="set infer.model to the model that the weights are of",
        )


def without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """Builds a network for looking at only: without memory, unless its constructor computes with what it holds."""
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError):
        return build()
