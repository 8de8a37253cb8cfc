"""open_clip's dual encoders of image and text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from open_clip.factory import load_checkpoint
from torch import Tensor

from pipeline.errors import ConfigError, ModelError, in_words
from pipeline.modalities.inputs import ImageInput, Input, TextInput, TokenInput
from pipeline.modalities.pretrained.base import (
    EncoderDescription,
    TowerDescription,
    digest_of,
    local_file,
    read_json,
    unknown_name,
)
from pipeline.modalities.pretrained.open_clip_parts import (
    CONFIG,
    PAD_ID,
    ImageWay,
    TextWay,
    build,
    has_tokenizer_of_its_own,
    network,
    tokenizer,
)
from pipeline.modalities.pretrained.towers import DualIdTower, ImageTower, TextTower, Tower
from pipeline.modalities.pretrained.weights import UNREADABLE, read_weights

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
CONTEXT = 77  # tokens, where a configuration says nothing
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
FILTERS = ("bilinear", "bicubic")


def describe(name: str, weights: str) -> EncoderDescription:
    """A dual encoder of open_clip.

    Args:
        name: One that open_clip knows, with ``/TAG`` where its published weights differ in their preprocessing; a
            folder's own configuration comes before it.
        weights: A file, or a folder with open_clip_config.json.
    """
    path = local_file(weights, "infer.weights=")
    model, preprocess = _configs(name, path)
    _check_offline(name, model, path)
    size = model["vision_cfg"].get("image_size", 224)
    side, other = (size, size) if isinstance(size, int) else size
    mode, filter = preprocess.get("resize_mode"), preprocess.get("interpolation")
    if side != other or mode not in ("shortest", "squash") or filter not in FILTERS:
        raise ConfigError(
            f"open_clip:{name} looks at images of {other} x {side} pixels, resized by {mode}, {filter}",
            where="infer.model",
            fix="choose a model of square images, resized by shortest or squash",
        )
    image = ImageInput(
        resize=side,
        size=side,
        filter=filter,
        squash=mode == "squash",
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
    )
    text = TextInput(model["text_cfg"].get("context_length", CONTEXT))
    digest, num_bytes = digest_of(path)
    inputs: dict[str, Input] = {"image": image, "text": text}
    width = model["embed_dim"]
    return EncoderDescription(f"open_clip:{name}", weights, inputs, width, True, digest, num_bytes)


def load(name: str, encoder: EncoderDescription) -> dict[str, Tower]:
    """Builds both networks."""
    path = local_file(encoder.weights, "infer.weights=")
    config, _ = _configs(name, path)
    read_weights(_checkpoint(path), "meta")  # said before minutes go into building the networks
    named = f"local-dir:{path}" if path.is_dir() else name.partition("/")[0]
    try:
        model = network(named)
    except UNREADABLE as error:
        raise _unfit(path, error) from None
    _fill(model, path)
    # Only transformers' tokenizers know these settings; they are read from the folder.
    local = {"local_files_only": True, "trust_remote_code": False}
    settings = local if config["text_cfg"].get("hf_tokenizer_name") else {}
    cut = open_clip.get_tokenizer(named, **settings)
    image = encoder.inputs.get("image")
    towers: dict[str, Tower] = {"text": TextTower(model.encode_text, _tokenize(cut), model)}
    if isinstance(image, ImageInput):
        towers["image"] = ImageTower(model.encode_image, image, model)
    return towers


def describe_tower(
    name: str, encoder: EncoderDescription, modality: str
) -> TowerDescription | None:
    """What a model must know of one of the networks; None where it is of another modality.

    Raises:
        ConfigError: It is of texts, and cuts them with a tokenizer of another library.
    """
    config, _ = _configs(name, local_file(encoder.weights, "infer.weights="))
    inputs = encoder.inputs.get(modality)
    architecture = json.dumps(config, sort_keys=True)
    if isinstance(inputs, TextInput):
        _check_tokenizer(name, config)
        token_inputs = TokenInput(inputs.max_tokens)
        return TowerDescription(token_inputs, encoder.width, encoder.digest, architecture)
    if isinstance(inputs, ImageInput):
        return TowerDescription(inputs, encoder.width, encoder.digest, architecture)
    return None


def build_tower(
    name: str, modality: str, described: TowerDescription, weights: str | None
) -> Tower:
    """Builds one of the networks, without weights where none are named; nothing of the other is left in it."""
    model = build(json.loads(described.architecture))
    if weights is not None:
        _fill(model, local_file(weights, "infer.weights="))
    tower: Tower
    if isinstance(described.inputs, ImageInput):
        tower = ImageTower(ImageWay(model), described.inputs)
        tower.behind_blocks = (".visual.proj",)
        return tower
    assert isinstance(described.inputs, TokenInput)
    length = described.inputs.max_tokens
    tower = DualIdTower(TextWay(model), PAD_ID, length, has_mask=False)
    tower.before_blocks = (".token_embedding.weight",)
    tower.behind_blocks = (".text_projection",)
    return tower


def tokenizer_of(name: str, weights: str | None) -> str:
    """open_clip's own tokenizer, JSON.

    Raises:
        ConfigError: The model cuts texts with another.
    """
    config, _ = _configs(name, local_file(weights or "", "infer.weights="))
    _check_tokenizer(name, config)
    return tokenizer()


def _check_tokenizer(name: str, config: Mapping[str, Any]) -> None:
    if not has_tokenizer_of_its_own(config):
        raise ConfigError(
            f"the texts of open_clip:{name} are cut by a tokenizer of another library",
            where="infer.model",
            fix="choose a model of texts with open_clip's own, such as open_clip:ViT-B-32, or one of hf:",
        )


def _fill(model: Any, path: Path) -> None:
    try:
        load_checkpoint(model, str(_checkpoint(path)), weights_only=True)
    except (*UNREADABLE, StopIteration) as error:
        raise _unfit(path, error) from None


def _unfit(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"the weights do not fit the network: {in_words(error)}",
        where=str(path),
        fix="set infer.model to the model that the weights are of",
    )


def _tokenize(cut: Any) -> Any:
    def tokenize(texts: list[str]) -> tuple[Tensor]:
        ids: Tensor = cut(texts)
        return (ids.to(torch.int64),)

    return tokenize


def _configs(name: str, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configurations of the networks and of the preprocessing."""
    if path.is_dir():
        content = read_json(path / CONFIG)
        if "model_cfg" not in content:
            raise ModelError(
                f"the folder has no {CONFIG} with model_cfg",
                where=str(path),
                fix="set infer.weights to the file of the weights, or to a folder that open_clip wrote",
            )
        defaults: dict[str, Any] = dict(open_clip.transform.PreprocessCfg().__dict__)
        return content["model_cfg"], {**defaults, **content.get("preprocess_cfg", {})}
    architecture, _, tag = name.partition("/")
    architectures = open_clip.list_models()
    if architecture not in architectures:
        what = f"open_clip has no model {architecture}"
        raise unknown_name(what, architecture, architectures, "open_clip.list_models()")
    return open_clip.get_model_config(architecture), _preprocessing(architecture, tag)


def _preprocessing(architecture: str, tag: str) -> dict[str, Any]:
    """What the published weights of a name were trained with."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag and tag not in tags:
        raise ConfigError(
            f"open_clip has no weights {tag} of {architecture}",
            where="infer.model",
            fix=f"the tags are {', '.join(tags) or 'none'}",
        )
    defaults: dict[str, Any] = dict(open_clip.transform.PreprocessCfg().__dict__)
    variants = []
    for published in [tag] if tag else tags:
        config = open_clip.get_pretrained_cfg(architecture, published)
        settings = {key: config.get(key) or defaults[key] for key in PREPROCESSING}
        if settings not in variants:
            variants.append(settings)
    if len(variants) > 1:
        raise ConfigError(
            f"the published weights of {architecture} differ in their preprocessing",
            where="infer.model",
            fix=f"name the weights' tag, open_clip:{architecture}/TAG: {', '.join(tags)}",
        )
    return variants[0] if variants else defaults


def _check_offline(name: str, model: dict[str, Any], path: Path) -> None:
    """Refuses what open_clip would fetch, or would take code from.

    Raises:
        ConfigError: It needs more than is in the folder.
    """
    text, vision = model["text_cfg"], model["vision_cfg"]
    needs = ""
    if text.get("hf_model_name"):
        needs = "its text network would be downloaded"
    elif path.is_file() and (text.get("hf_tokenizer_name") or "siglip" in name.lower()):
        needs = "its tokenizer would be downloaded"
    elif "trust_remote_code" in text.get("tokenizer_kwargs", {}):
        needs = "its tokenizer asks to run code"
    elif (tower := vision.get("timm_model_name")) and (":" in tower or not timm.is_model(tower)):
        needs = f"its image network {tower} is not one of timm's"
    if needs:
        raise ConfigError(
            f"open_clip:{name} cannot be run from these files: {needs}",
            where="infer.model",
            fix=f"set infer.weights to a folder with {CONFIG}, the weights and tokenizer.json",
        )


def _checkpoint(path: Path) -> Path:
    if path.is_file():
        files = [path]
    else:
        named = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        files = sorted(named, key=lambda file: SUFFIXES.index(file.suffix))
    if not files or files[0].suffix not in SUFFIXES:
        raise ModelError(
            f"there are no weights: a file that ends in {', '.join(SUFFIXES)}",
            where=str(path),
            fix="put the weights there",
        )
    return files[0]
