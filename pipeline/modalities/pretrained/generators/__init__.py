"""Pretrained generators, ``hf:FOLDER``: what writes a text about a sound, an image or a text.

Which folder is of one is decided by the ``architectures`` of its config.json. To add a family: write a module with the
functions of :class:`Family`, and list its architectures here. As of encoders, nothing is ever downloaded, and no code
from a folder is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import ConfigError, ModelError, in_words
from pipeline.modalities.pretrained.base import PICKED, digest_of, local_file, read_json
from pipeline.modalities.pretrained.generators.base import Family, GeneratorDescription

if TYPE_CHECKING:
    from pipeline.modalities.pretrained.generators.writing import Generator

__all__ = ["FAMILIES", "GeneratorDescription", "describe", "is_generator", "load"]

PREFIX = "hf:"
CONFIG = "config.json"
PICKED_HERE = (*PICKED, ".spm", ".jinja", ".tiktoken")  # tokenizers come in these, too


def _whisper() -> Family:
    from pipeline.modalities.pretrained.generators import whisper

    return whisper


def _ctc() -> Family:
    from pipeline.modalities.pretrained.generators import ctc

    return ctc


def _images() -> Family:
    from pipeline.modalities.pretrained.generators import images

    return images


def _prompted() -> Family:
    from pipeline.modalities.pretrained.generators import prompted

    return prompted


def _texts() -> Family:
    from pipeline.modalities.pretrained.generators import texts

    return texts


# Architecture, as transformers names its class -> what imports its family.
FAMILIES: Mapping[str, Callable[[], Family]] = {
    "WhisperForConditionalGeneration": _whisper,
    "Wav2Vec2ForCTC": _ctc,
    "HubertForCTC": _ctc,
    "BlipForConditionalGeneration": _images,
    "VisionEncoderDecoderModel": _images,
    "LlavaForConditionalGeneration": _prompted,
    "PaliGemmaForConditionalGeneration": _prompted,
    "T5ForConditionalGeneration": _texts,
    "BartForConditionalGeneration": _texts,
    "MarianMTModel": _texts,
}


def architecture_of(folder: Path) -> str | None:
    """The generator that a folder holds, as transformers names its class; None where it holds none.

    Raises:
        ModelError: config.json is damaged.
    """
    names = read_json(folder / CONFIG).get("architectures")
    return next((name for name in names or () if name in FAMILIES), None)


def is_generator(model: str) -> bool:
    """Whether ``hf:FOLDER`` is a generator; a folder that is not there is none.

    Raises:
        ModelError: config.json is damaged.
    """
    name = model.removeprefix(PREFIX)
    if name == model or not name or not storage.is_local(name):
        return False
    return architecture_of(storage.local_path(name)) is not None


def describe(model: str, settings: Mapping[str, Any]) -> GeneratorDescription:
    """What a generator takes and gives, without its weights in memory.

    Args:
        model: ``hf:FOLDER``.
        settings: ``infer.settings``.

    Raises:
        ConfigError: It has no such settings, or transformers is not installed.
        ModelError: Files are missing or damaged.
    """
    folder, architecture, family = _family(model)
    taken = family.describe(folder, architecture, settings)
    digest, size = digest_of(folder, PICKED_HERE)
    return GeneratorDescription(
        model=model,
        architecture=architecture,
        kind=taken.kind,
        inputs={taken.kind: taken.inputs},
        settings=taken.settings,
        fields=taken.fields,
        digest=digest,
        num_bytes=size,
    )


def load(description: GeneratorDescription) -> Generator:
    """Builds a generator with its weights, in evaluation mode, on the CPU.

    Args:
        description: What :func:`describe` said, perhaps on another machine.

    Raises:
        ModelError: The files here are others than those described, or do not fit.
    """
    folder, _, family = _family(description.model)
    if digest_of(folder, PICKED_HERE)[0] != description.digest:
        raise ModelError(
            "the weights are others than when the job began, or than on the machine that it began on",
            where=f"infer.model={description.model}",
            fix="put the same files on every machine, and leave them as they are while a job runs",
        )
    return family.load(folder, description)


def _family(model: str) -> tuple[Path, str, Family]:
    folder = local_file(model.removeprefix(PREFIX), f"infer.model={PREFIX}")
    architecture = architecture_of(folder)
    if architecture is None:
        raise ModelError(
            f"{CONFIG} names no generator that is known",
            where=str(folder),
            fix=f"choose one of {', '.join(FAMILIES)}",
        )
    try:
        return folder, architecture, FAMILIES[architecture]()
    except ImportError as error:
        raise ConfigError(
            f"generators need the package transformers: {in_words(error)}",
            where=f"infer.model={model}",
            fix="install it with: pip install 'multimodal-pipeline[encoders]'",
        ) from None
