"""Folders of transformers: CLIP and SigLIP (image and text), CLAP (audio and text), and encoders of texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from pipeline.errors import ConfigError, ModelError, in_words
from pipeline.modalities.inputs import (
    AudioInput,
    ImageInput,
    Input,
    SoundInput,
    TextInput,
    TokenInput,
    TowerInput,
)
from pipeline.modalities.pretrained.base import (
    EncoderDescription,
    TowerDescription,
    digest_of,
    local_file,
    read_json,
)
from pipeline.modalities.pretrained.hf.architecture import Architecture, DualTokens
from pipeline.modalities.pretrained.hf.clap import ClapAudioTower
from pipeline.modalities.pretrained.hf.dual import ImageFeatures, TextFeatures, leave_one_way
from pipeline.modalities.pretrained.hf.sentences import Recipe, SentenceEncoder
from pipeline.modalities.pretrained.hf.tokens import Tokens
from pipeline.modalities.pretrained.towers import DualIdTower, IdTower, ImageTower, TextTower, Tower
from pipeline.modalities.pretrained.weights import UNREADABLE

CONFIG = "config.json"
IMAGE_AND_TEXT, AUDIO_AND_TEXT = ("clip", "siglip"), ("clap",)
TEXT = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta",
    "xlm-roberta",
)  # fmt: skip
POSITIONS_TAKEN = (
    2  # of the table of positions, which these count from the padding token's number on
)
COUNTED_FROM_PADDING = ("camembert", "clap_text_model", "mpnet", "roberta", "xlm-roberta")
FILTERS = {2: "bilinear", 3: "bicubic", 1: "lanczos"}  # Pillow's numbers
IDS = ("input_ids", "attention_mask")
OFFLINE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def describe(name: str, weights: str) -> EncoderDescription:
    """What a folder as ``save_pretrained`` writes it takes and gives.

    Args:
        name: The folder.
        weights: The same.
    """
    folder = local_file(weights, "infer.model=hf:")
    recipe = Recipe.read(folder)
    config = _config(folder / recipe.folder)
    kind: str = config.model_type
    inputs: dict[str, Input] = {}
    if kind in IMAGE_AND_TEXT:
        inputs["image"] = _image(folder)
        inputs["text"] = TextInput(config.text_config.max_position_embeddings)
        width = config.projection_dim if kind == "clip" else config.vision_config.hidden_size
    elif kind in AUDIO_AND_TEXT:
        features = _extractor(folder)
        inputs["text"] = TextInput(_max_tokens(folder, config.text_config))
        inputs["audio"] = AudioInput(features.sampling_rate, features.max_length_s)
        width = config.projection_dim
    elif kind in TEXT:
        longest = _max_tokens(folder / recipe.folder, config)
        inputs["text"] = TextInput(min(longest, recipe.max_tokens or longest))
        width = config.hidden_size
    else:
        raise ConfigError(
            f"models of the kind {kind} are not known",
            where=f"infer.model=hf:{name}",
            fix=f"choose one of {', '.join((*IMAGE_AND_TEXT, *AUDIO_AND_TEXT, *TEXT))}",
        )
    digest, size = digest_of(folder)
    return EncoderDescription(f"hf:{name}", weights, inputs, width, len(inputs) > 1, digest, size)


def load(name: str, encoder: EncoderDescription) -> dict[str, Tower]:
    """Builds the networks."""
    folder = local_file(encoder.weights, "infer.model=hf:")
    recipe = Recipe.read(folder)
    model = _model(folder / recipe.folder)
    kind: str = model.config.model_type
    towers: dict[str, Tower] = {}
    text = encoder.inputs.get("text")
    if isinstance(text, TextInput):
        padded = kind in IMAGE_AND_TEXT  # which were trained with texts of one length
        tokens = Tokens(_tokenizer(folder / recipe.folder), text.max_tokens, recipe, whole=padded)
        network: nn.Module = (
            SentenceEncoder(model, recipe, tokens.names)
            if kind in TEXT
            else TextFeatures(model, tokens.names)
        )
        towers["text"] = TextTower(network, tokens, by_length=not padded)
    image = encoder.inputs.get("image")
    if isinstance(image, ImageInput):
        towers["image"] = ImageTower(ImageFeatures(model), image)
    if "audio" in encoder.inputs:
        towers["audio"] = ClapAudioTower(model, _extractor(folder))
    return towers


def describe_tower(
    name: str, encoder: EncoderDescription, modality: str
) -> TowerDescription | None:
    """What a model must know of one of the networks; None where there is none of the modality."""
    folder = local_file(name, "infer.model=hf:")
    recipe = Recipe.read(folder)
    config = _config(folder / recipe.folder)
    given, kind = encoder.inputs.get(modality), config.model_type
    inputs: TowerInput
    tokens: DualTokens | None = None
    features = ""
    if isinstance(given, ImageInput):
        inputs = given
    elif isinstance(given, TextInput):
        inputs = TokenInput(given.max_tokens, recipe.prompt, recipe.lower)
        tokens = None if kind in TEXT else _dual_tokens(folder, kind, given.max_tokens)
    elif isinstance(given, AudioInput):
        extractor = _extractor(folder)
        features = extractor.to_json_string()
        inputs = SoundInput(given.sample_rate_hz, given.max_seconds, extractor.padding)
    else:
        return None
    architecture = Architecture(kind, config.to_json_string(), recipe, tokens, features)
    return TowerDescription(inputs, encoder.width, encoder.digest, architecture.to_json())


def _dual_tokens(folder: Path, kind: str, max_tokens: int) -> DualTokens:
    tokenizer = _tokenizer(folder)
    # Those of images were trained with texts of one length.
    length = max_tokens if kind in IMAGE_AND_TEXT else None
    has_mask = IDS[1] in tokenizer.model_input_names
    return DualTokens(tokenizer.pad_token_id or 0, length, has_mask)


def build_tower(
    name: str, modality: str, described: TowerDescription, weights: str | None
) -> Tower:
    """Builds one of the networks, without weights where none are named; nothing of the others is left in it."""
    architecture = Architecture.from_json(described.architecture)
    if weights is None:
        model = architecture.build()
    else:
        model = _model(local_file(weights, "infer.model=hf:") / architecture.recipe.folder)
    if modality in ("image", "audio") or architecture.tokens is not None:
        leave_one_way(model, modality)
    if isinstance(described.inputs, ImageInput):
        return ImageTower(ImageFeatures(model), described.inputs)
    if isinstance(described.inputs, SoundInput):
        return ClapAudioTower(model, architecture.extractor())
    if tokens := architecture.tokens:
        network = TextFeatures(model, IDS if tokens.has_mask else IDS[:1])
        return DualIdTower(network, tokens.pad_id, tokens.length, has_mask=tokens.has_mask)
    if hasattr(model, "pooler"):  # recipes pool the states themselves
        model.pooler = None
    return IdTower(SentenceEncoder(model, architecture.recipe, IDS), model.config.pad_token_id or 0)


def tokenizer_of(name: str, weights: str | None) -> str:
    """The tokenizer in a folder, JSON; ``weights`` is the folder once more.

    Raises:
        ModelError: It is none of those that run in Rust.
    """
    folder = local_file(name, "infer.model=hf:")
    tokenizer = _tokenizer(folder / Recipe.read(folder).folder)
    if not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer has no form that decode workers can run",
            where=str(folder),
            fix="choose a model with tokenizer.json",
        )
    text: str = tokenizer.backend_tokenizer.to_str()
    return text


def _read(folder: Path, what: str, read: Any, **settings: Any) -> Any:
    """Reads a part of a model from its folder, and nothing from elsewhere."""
    try:
        return read(str(folder), **OFFLINE, **settings)
    except (*UNREADABLE, ImportError) as error:
        raise ModelError(
            f"{what} cannot be read: {in_words(error)}",
            where=str(folder),
            fix="give a whole folder, as save_pretrained or a download of the model writes it",
        ) from None


def _config(folder: Path) -> Any:
    read_json(folder / CONFIG)
    return _read(folder, CONFIG, transformers.AutoConfig.from_pretrained)


def _tokenizer(folder: Path) -> Any:
    return _read(folder, "the tokenizer", transformers.AutoTokenizer.from_pretrained)


def _extractor(folder: Path) -> Any:
    return _read(
        folder, "preprocessor_config.json", transformers.AutoFeatureExtractor.from_pretrained
    )


def _max_tokens(folder: Path, config: Any) -> int:
    """Tokens that a text may have: as many as there are positions, or as the tokenizer says."""
    positions: int = config.max_position_embeddings
    if config.model_type in COUNTED_FROM_PADDING:
        positions -= POSITIONS_TAKEN
    return min(positions, int(_tokenizer(folder).model_max_length))


def _image(folder: Path) -> ImageInput:
    """How images are made ready, as preprocessor_config.json says."""
    processor = _read(
        folder, "preprocessor_config.json", transformers.AutoImageProcessor.from_pretrained
    )
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
            where=str(folder / "preprocessor_config.json"),
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


def _model(folder: Path) -> Any:
    """The network, with all of its weights in float32.

    Raises:
        ModelError: Some are missing: transformers would make them up.
    """
    transformers.utils.logging.disable_progress_bar()
    model, loading = _read(
        folder,
        "the weights",
        transformers.AutoModel.from_pretrained,
        dtype=torch.float32,
        output_loading_info=True,
    )
    # Encoders of texts are pooled by their recipe, and checkpoints of masked language models have no pooler.
    missing = [weight for weight in loading["missing_keys"] if not weight.startswith("pooler.")]
    if missing:
        raise ModelError(
            f"{len(missing)} weights are missing, the first is {sorted(missing)[0]}",
            where=str(folder),
            fix="give a whole folder, as save_pretrained or a download of the model writes it",
        )
    return model.eval()
