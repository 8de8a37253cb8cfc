"""A folder as transformers saves it: configuration, tokenizer, preprocessing and weights are read here alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from pipeline.errors import ModelError, in_words
from pipeline.modalities.inputs import ImageInput
from pipeline.modalities.pretrained.base import read_json
from pipeline.modalities.pretrained.weights import UNREADABLE

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
GENERATION, TOKENIZER = "generation_config.json", "tokenizer.json"
FILTERS = {2: "bilinear", 3: "bicubic", 1: "lanczos"}  # Pillow's numbers
OFFLINE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
WHOLE = "give a whole folder, as save_pretrained or a download of the model writes it"


def read_config(folder: Path) -> Any:
    """The configuration of the network."""
    read_json(folder / CONFIG)
    return _read(folder, CONFIG, transformers.AutoConfig.from_pretrained)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer.

    Raises:
        ModelError: There is none: transformers would make one up that knows no word.
    """
    tokenizer = _read(folder, "the tokenizer", transformers.AutoTokenizer.from_pretrained)
    names = {**tokenizer.vocab_files_names, "tokenizer_file": TOKENIZER}
    names.pop("tokenizer_config_file", None)
    if not any((folder / name).is_file() for name in names.values()):
        raise ModelError(
            f"there is no tokenizer: none of {', '.join(sorted(set(names.values())))}",
            where=str(folder),
            fix=WHOLE,
        )
    return tokenizer


def read_extractor(folder: Path) -> Any:
    """What makes features of sounds."""
    return _read(folder, PREPROCESSOR, transformers.AutoFeatureExtractor.from_pretrained)


def read_processor(folder: Path) -> Any:
    """What puts images and texts together for a network that reads both."""
    return _read(folder, "the processor", transformers.AutoProcessor.from_pretrained)


def read_generation(folder: Path) -> Any:
    """How texts are searched for, as generation_config.json says, or else config.json."""
    if (folder / GENERATION).is_file():
        return _read(folder, GENERATION, transformers.GenerationConfig.from_pretrained)
    return transformers.GenerationConfig.from_model_config(read_config(folder))


def image_input(folder: Path) -> ImageInput:
    """How images are made ready, as preprocessor_config.json says."""
    processor = _read(folder, PREPROCESSOR, transformers.AutoImageProcessor.from_pretrained)
    size = dict(processor.size)
    side = int(size.get("shortest_edge") or size.get("height") or 0)
    squash = not size.get("shortest_edge")
    cropped = getattr(processor, "do_center_crop", False)
    crop = dict(processor.crop_size) if cropped else {"height": side, "width": side}
    square = crop["height"] == crop["width"] and (not squash or side == size.get("width"))
    filter = FILTERS.get(int(processor.resample))
    if not (processor.do_resize and side and square and (squash or cropped) and filter):
        raise ModelError(
            f"images are made ready in a way that is not known here: size {size}, crop {crop}",
            where=str(folder / PREPROCESSOR),
            fix="choose a model that resizes images to a square",
        )
    scaled = processor.do_normalize
    return ImageInput(
        resize=side,
        size=crop["height"],
        filter=filter,  # type: ignore[arg-type]
        squash=squash,
        mean=tuple(processor.image_mean) if scaled else (0.0, 0.0, 0.0),
        std=tuple(processor.image_std) if scaled else (1.0, 1.0, 1.0),
        floor=True,
    )


def read_model(folder: Path, read: Any, spare: tuple[str, ...] = ()) -> Any:
    """A network, with all of its weights in float32, in evaluation mode.

    Args:
        folder: Where it lies.
        read: ``from_pretrained`` of the class that is asked for.
        spare: Beginnings of the names of weights that may be missing, since they are not used.

    Raises:
        ModelError: Some are missing: transformers would make them up.
    """
    transformers.utils.logging.disable_progress_bar()
    model, loading = _read(
        folder, "the weights", read, dtype=torch.float32, output_loading_info=True
    )
    missing = [weight for weight in loading["missing_keys"] if not weight.startswith(spare)]
    if missing:
        raise ModelError(
            f"{len(missing)} weights are missing, the first is {sorted(missing)[0]}",
            where=str(folder),
            fix=WHOLE,
        )
    return model.eval()


def _read(folder: Path, what: str, read: Any, **settings: Any) -> Any:
    """Reads a part of a model from its folder, and nothing from elsewhere."""
    try:
        return read(str(folder), **OFFLINE, **settings)
    except (*UNREADABLE, ImportError) as error:
        raise ModelError(
            f"{what} cannot be read: {in_words(error)}",
            where=str(folder),
            fix=WHOLE,
        ) from None
