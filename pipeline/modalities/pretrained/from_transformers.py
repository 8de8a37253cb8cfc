"""Folders of transformers: CLIP and SigLIP (image and text), CLAP (audio and text), and encoders of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
from pipeline.modalities.pretrained.clap import ClapAudioTower
from pipeline.modalities.pretrained.dual import ImageFeatures, TextFeatures
from pipeline.modalities.pretrained.sentences import Recipe, SentenceEncoder
from pipeline.modalities.pretrained.tokens import Tokens
from pipeline.modalities.pretrained.towers import IdTower, ImageTower, TextTower, Tower
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
# Of a dual encoder, what an encoder of images has no use for.
TEXT_PARTS = ("text_model", "text_projection", "logit_scale", "logit_bias")
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
    """What a model must know of one of the networks; None where there is none of the modality, or not for training."""
    folder = local_file(name, "infer.model=hf:")
    recipe = Recipe.read(folder)
    config = _config(folder / recipe.folder)
    inputs: TowerInput
    image, text = encoder.inputs.get("image"), encoder.inputs.get("text")
    if modality == "image" and isinstance(image, ImageInput):
        inputs = image
    elif modality == "text" and isinstance(text, TextInput) and config.model_type in TEXT:
        inputs = TokenInput(text.max_tokens, recipe.prompt, recipe.lower)
    else:
        return None
    architecture = Architecture(config.model_type, config.to_json_string(), recipe)
    return TowerDescription(inputs, encoder.width, encoder.digest, architecture.to_json())


def build_tower(
    name: str, modality: str, described: TowerDescription, weights: str | None
) -> Tower:
    """Builds one of the networks, without weights where none are named; nothing of the others is left in it."""
    architecture = Architecture.from_json(described.architecture)
    if weights is None:
        model = architecture.build()
    else:
        model = _model(local_file(weights, "infer.model=hf:") / architecture.recipe.folder)
    if isinstance(described.inputs, ImageInput):
        for part in TEXT_PARTS:
            if hasattr(model, part):
                delattr(model, part)
        return ImageTower(ImageFeatures(model), described.inputs)
    if hasattr(model, "pooler"):  # recipes pool the states themselves
        model.pooler = None
    return IdTower(SentenceEncoder(model, architecture.recipe, IDS), model.config.pad_token_id or 0)


def tokenizer_of(name: str) -> str:
    """The tokenizer in a folder, JSON.

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


@dataclass(frozen=True)
class Architecture:
    """What a network is built from without its folder.

    Attributes:
        kind: Of its configuration, as transformers names it.
        config: Its configuration, JSON.
        recipe: How its states become an embedding.
    """

    kind: str
    config: str
    recipe: Recipe

    def to_json(self) -> str:
        """One line, the same for the same network."""
        tree = {"kind": self.kind, "config": json.loads(self.config), "recipe": asdict(self.recipe)}
        return json.dumps(tree, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """What :meth:`to_json` made."""
        tree = json.loads(text)
        return cls(tree["kind"], json.dumps(tree["config"]), Recipe(**tree["recipe"]))

    def build(self) -> Any:
        """The network, with weights by chance; of code that transformers has, and of no other."""
        settings = json.loads(self.config)
        settings.pop("auto_map", None)
        settings.pop("model_type", None)
        config = transformers.AutoConfig.for_model(self.kind, **settings)
        return transformers.AutoModel.from_config(config, trust_remote_code=False).eval()


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
