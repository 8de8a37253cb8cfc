"""Folders of transformers: CLIP and SigLIP (image and text), CLAP (audio and text), and encoders of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from torch import nn

from pipeline.errors import ConfigError, ModelError
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
)
from pipeline.modalities.pretrained.generators import FAMILIES
from pipeline.modalities.pretrained.hf.architecture import Architecture, DualTokens
from pipeline.modalities.pretrained.hf.clap import ClapAudioTower
from pipeline.modalities.pretrained.hf.dual import ImageFeatures, TextFeatures, leave_one_way
from pipeline.modalities.pretrained.hf.folder import (
    image_input,
    read_config,
    read_extractor,
    read_model,
    read_tokenizer,
)
from pipeline.modalities.pretrained.hf.sentences import Recipe, SentenceEncoder
from pipeline.modalities.pretrained.hf.tokens import Tokens
from pipeline.modalities.pretrained.towers import DualIdTower, IdTower, ImageTower, TextTower, Tower

IMAGE_AND_TEXT, AUDIO_AND_TEXT = ("clip", "siglip"), ("clap",)
TEXT = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta",
    "xlm-roberta",
)  # fmt: skip
POSITIONS_TAKEN = (
    2  # of the table of positions, which these count from the padding token's number on
)
COUNTED_FROM_PADDING = ("camembert", "clap_text_model", "mpnet", "roberta", "xlm-roberta")
IDS = ("input_ids", "attention_mask")


def describe(name: str, weights: str) -> EncoderDescription:
    """What a folder as ``save_pretrained`` writes it takes and gives.

    Args:
        name: The folder.
        weights: The same.
    """
    folder = local_file(weights, "infer.model=hf:")
    recipe = Recipe.read(folder)
    config = read_config(folder / recipe.folder)
    kind: str = config.model_type
    inputs: dict[str, Input] = {}
    if kind in IMAGE_AND_TEXT:
        inputs["image"] = image_input(folder)
        inputs["text"] = TextInput(config.text_config.max_position_embeddings)
        width = config.projection_dim if kind == "clip" else config.vision_config.hidden_size
    elif kind in AUDIO_AND_TEXT:
        features = read_extractor(folder)
        inputs["text"] = TextInput(_max_tokens(folder, config.text_config))
        inputs["audio"] = AudioInput(features.sampling_rate, features.max_length_s)
        width = config.projection_dim
    elif kind in TEXT:
        longest = _max_tokens(folder / recipe.folder, config)
        inputs["text"] = TextInput(min(longest, recipe.max_tokens or longest))
        width = config.hidden_size
    else:
        named = " or ".join(config.architectures or (kind,))
        encoders = ", ".join((*IMAGE_AND_TEXT, *AUDIO_AND_TEXT, *TEXT))
        raise ConfigError(
            f"models of the kind {named} are not known",
            where=f"infer.model=hf:{name}",
            fix=f"choose an encoder ({encoders}) or, for infer.model, a generator ({', '.join(FAMILIES)})",
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
        tokens = Tokens(
            read_tokenizer(folder / recipe.folder), text.max_tokens, recipe, whole=padded
        )
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
        towers["audio"] = ClapAudioTower(model, read_extractor(folder))
    return towers


def describe_tower(
    name: str, encoder: EncoderDescription, modality: str
) -> TowerDescription | None:
    """What a model must know of one of the networks; None where there is none of the modality."""
    folder = local_file(name, "infer.model=hf:")
    recipe = Recipe.read(folder)
    config = read_config(folder / recipe.folder)
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
        extractor = read_extractor(folder)
        features = extractor.to_json_string()
        inputs = SoundInput(given.sample_rate_hz, given.max_seconds, extractor.padding)
    else:
        return None
    architecture = Architecture(kind, config.to_json_string(), recipe, tokens, features)
    return TowerDescription(inputs, encoder.width, encoder.digest, architecture.to_json())


def _dual_tokens(folder: Path, kind: str, max_tokens: int) -> DualTokens:
    tokenizer = read_tokenizer(folder)
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
    tokenizer = read_tokenizer(folder / Recipe.read(folder).folder)
    if not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer has no form that decode workers can run",
            where=str(folder),
            fix="choose a model with tokenizer.json",
        )
    text: str = tokenizer.backend_tokenizer.to_str()
    return text


def _max_tokens(folder: Path, config: Any) -> int:
    """Tokens that a text may have: as many as there are positions, or as the tokenizer says."""
    positions: int = config.max_position_embeddings
    if config.model_type in COUNTED_FROM_PADDING:
        positions -= POSITIONS_TAKEN
    return min(positions, int(read_tokenizer(folder).model_max_length))


def _model(folder: Path) -> Any:
    # Encoders of texts are pooled by their recipe, and checkpoints of masked language models have no pooler.
    return read_model(folder, transformers.AutoModel.from_pretrained, spare=("pooler.",))
