"""Pretrained encoders, named ``KIND:NAME``; the kinds, by the library that builds their networks.

To add a kind: write ``from_LIBRARY.py`` beside this file, with the functions of :class:`Library`, and list it here.
Nothing is ever downloaded, and no code from a model's folder is run: weights are a file or folder of this machine, read
as safetensors or with ``torch.load(weights_only=True)``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, ModelError, in_words
from pipeline.modalities.pretrained.base import EncoderDescription, Library, TowerDescription

if TYPE_CHECKING:
    from pipeline.modalities.pretrained.towers import Tower

__all__ = [
    "KINDS",
    "EncoderDescription",
    "build_tower",
    "describe",
    "describe_tower",
    "is_encoder",
    "load",
    "tokenizer_of",
]


def _torchvision() -> Library:
    from pipeline.modalities.pretrained import from_torchvision, images

    return images.ImageLibrary(from_torchvision.describe, from_torchvision.build)


def _timm() -> Library:
    from pipeline.modalities.pretrained import from_timm, images

    return images.ImageLibrary(from_timm.describe, from_timm.build)


def _transformers() -> Library:
    from pipeline.modalities.pretrained import from_transformers

    return from_transformers


def _open_clip() -> Library:
    from pipeline.modalities.pretrained import from_open_clip

    return from_open_clip


# Kind -> what imports its library, and how the library is installed.
KINDS: dict[str, tuple[Callable[[], Library], str]] = {
    "torchvision": (_torchvision, "torchvision"),
    "timm": (_timm, "timm"),
    "hf": (_transformers, "transformers"),
    "open_clip": (_open_clip, "open_clip_torch"),
}
# Kind of modality -> the encoders that can be part of a model, for a person who named another.
WITHIN_MODELS = {
    "image": "an image network of torchvision:, timm: or open_clip:, or a CLIP or SigLIP of hf:",
    "text": "an encoder of texts, a CLIP, SigLIP or CLAP of hf:, or open_clip:",
    "audio": "a CLAP of hf:",
}


def is_encoder(model: str) -> bool:
    """Whether a model's name is that of a pretrained encoder, and not a bundle's folder.

    Raises:
        ConfigError: It looks like an encoder's, of a kind that there is not.
    """
    kind, separator, name = model.partition(":")
    if not separator or name.startswith("//"):
        return False
    if kind in KINDS:
        return True
    if near := difflib.get_close_matches(kind.lower().replace("-", "_"), KINDS, n=1):
        raise ConfigError(
            f"there are no {kind}: encoders", where="infer.model", fix=f"did you mean {near[0]}:?"
        )
    return False


def describe(model: str, weights: str | None) -> EncoderDescription:
    """What an encoder takes and gives, without its weights in memory.

    Args:
        model: ``KIND:NAME``; of kind ``hf`` NAME is the folder.
        weights: File or folder of the weights; for ``hf`` the folder is the name, and this is None.

    Raises:
        ConfigError: Unknown name, no weights named, or a package that is not installed.
        ModelError: The weights or their folder are missing or damaged.
    """
    library, name = _library(model)
    return library.describe(name, _weights(model, name, weights))


def load(encoder: EncoderDescription) -> dict[str, Tower]:
    """Builds the networks of an encoder with their weights, in evaluation mode, on the CPU.

    Args:
        encoder: What :func:`describe` said, perhaps on another machine.

    Returns:
        Modality -> network, for the modalities of ``encoder``.

    Raises:
        ModelError: The weights here are others than those described, or do not fit.
    """
    library, name = _library(encoder.model)
    kinds = encoder.kinds or {kind: kind for kind in encoder.inputs}
    described = library.describe(name, encoder.weights).for_job(kinds)
    if described.fingerprint != encoder.fingerprint:
        raise ModelError(
            "the weights are others than when the job began, or than on the machine that it began on",
            where=encoder.weights,
            fix="put the same files on every machine, and leave them as they are while a job runs",
        )
    towers = library.load(name, encoder.by_kind())
    return {modality: towers[kind].eval() for modality, kind in kinds.items()}


def describe_tower(model: str, weights: str | None, modality: str) -> TowerDescription:
    """What one modality's network of an encoder takes and gives, for a model that it becomes part of.

    Args:
        model: As of :func:`describe`.
        weights: As of :func:`describe`.
        modality: The kind of modality.

    Raises:
        ConfigError: As :func:`describe`, or it has no network for that modality.
        ModelError: As :func:`describe`.
    """
    with _named_as_encoder(modality):
        library, name = _library(model)
        described = library.describe_tower(name, describe(model, weights), modality)
        if described is None:
            raise ConfigError(
                f"{model} cannot be an encoder of {modality} within a model",
                where="infer.model",
                fix=f"choose {WITHIN_MODELS[modality]}",
            )
    return described


def build_tower(
    model: str, modality: str, described: TowerDescription, weights: str | None
) -> Tower:
    """Builds one modality's network of an encoder, on the CPU.

    Args:
        model: As of :func:`describe`.
        modality: The kind of modality.
        described: What :func:`describe_tower` said of it.
        weights: File or folder of the weights; None leaves them to chance, for who has others to put in their place.

    Raises:
        ConfigError: Its package is not installed.
        ModelError: The weights do not fit.
    """
    with _named_as_encoder(modality):
        library, name = _library(model)
        return library.build_tower(name, modality, described, weights)


def tokenizer_of(model: str, weights: str | None, modality: str) -> str:
    """The tokenizer of an encoder of texts, JSON of a ``tokenizers.Tokenizer``.

    Args:
        model: As of :func:`describe`.
        weights: As of :func:`describe`.
        modality: The kind of modality.

    Raises:
        ConfigError: It is no encoder of texts, or has a tokenizer that is not known here.
        ModelError: It has none, or none that runs without code of its own.
    """
    with _named_as_encoder(modality):
        library, name = _library(model)
        return library.tokenizer_of(name, _weights(model, name, weights))


@contextmanager
def _named_as_encoder(modality: str) -> Iterator[None]:
    """Errors name the settings of a modality's encoder, rather than those of batch inference."""
    place = f"modalities.{modality}.encoder"
    names = {"infer.model": f"{place}.name", "infer.weights": f"{place}.weights"}
    try:
        yield
    except (ConfigError, ModelError) as error:
        texts = [error.what, error.where, error.fix]
        for setting, name in names.items():
            texts = [text.replace(setting, name) for text in texts]
        what, where, fix = texts
        raise type(error)(what, where=where, fix=fix) from None


def _library(model: str) -> tuple[Library, str]:
    kind, _, name = model.partition(":")
    build, package = KINDS[kind]
    if not name:
        raise ConfigError(
            f"{model} names no model",
            where="infer.model",
            fix=f"write {kind}:NAME, see docs/encoders.md",
        )
    try:
        return build(), name
    except ImportError as error:
        raise ConfigError(
            f"{kind}: encoders need the package {package}: {in_words(error)}",
            where=f"infer.model={model}",
            fix="install it with: pip install 'multimodal-pipeline[encoders]'",
        ) from None


def _weights(model: str, name: str, weights: str | None) -> str:
    if model.startswith("hf:"):
        if weights is not None:
            raise ConfigError(
                "hf: encoders have their weights in the folder that infer.model names",
                where=f"infer.weights={weights}",
                fix="leave infer.weights out",
            )
        return name
    if weights is None:
        raise ConfigError(
            f"{model} has no weights, and nothing is downloaded",
            where="infer.weights",
            fix="set infer.weights to the file with them, .safetensors or .pth, on this machine",
        )
    return weights
