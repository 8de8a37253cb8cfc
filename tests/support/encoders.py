"""Small encoders that tests save to disk, and samples to embed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config import Config
from pipeline.engine.infer.predictors import model_spec
from pipeline.modalities import ModalitiesConfig
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import ModelSpec, open_model
from pipeline.sample import Field, Sample
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part

ALL = {"image": {"fields": ["png", "jpg"]}, "text": {}, "audio": {}}


def png(seed: int, width: int = 90, height: int = 70) -> bytes:
    """A picture with structure at every scale."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def sample(key: str, ordinal: int = 0, **fields: bytes) -> Sample:
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    return Sample(key, "shard.tar", ordinal, members)


def spec(model: str, weights: Path | None = None, **settings: Any) -> ModelSpec:
    modalities = ModalitiesConfig.model_validate(settings.pop("modalities", ALL))
    settings = {"batch_size": 8, "device": "cpu", **settings}
    return ModelSpec(model, modalities, None if weights is None else str(weights), **settings)


def decode(wanted: ModelSpec, samples: list[Sample]) -> pa.Table:
    return open_model(wanted).decoder().decode(samples, "part")


def embed(wanted: ModelSpec, samples: list[Sample]) -> pa.Table:
    return load_predictor(wanted)(decode(wanted, samples))


def matrix(table: pa.Table, name: str = "embedding") -> np.ndarray:
    """(B, D) of a column without nulls."""
    return np.array(table[name].to_pylist(), dtype=np.float32)


SENTENCE = "a cat dog mat rug on the sits runs photo of red blue loud quiet song"
WORDS = SENTENCE.split(" ")
LENGTH = 12  # positions of the small networks of texts


def tone(seed: int, seconds: float = 0.3, rate: int = 8000) -> bytes:
    """A sound of a few tones, 16-bit WAV."""
    import soundfile

    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(100, 3000, 3)) / 4
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def save_tokenizer(folder: Path, **settings: Any) -> Any:
    """A tokenizer of whole words, between a token for the start and one for the end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<s>", "</s>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    named = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    names = ["input_ids", "attention_mask"]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{"model_input_names": names, **named, **settings}
    )
    fast.save_pretrained(folder)
    return fast


def small_text(**settings: Any) -> dict[str, Any]:
    return {
        "vocab_size": 4 + len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        **settings,
    }


def small_vision(**settings: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        **settings,
    }


def save_clip(folder: Path) -> Path:
    """A small CLIP, random, as transformers writes it."""
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.CLIPConfig(
        text_config=small_text(), vision_config=small_vision(), projection_dim=24
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
    transformers.CLIPImageProcessor(**sizes).save_pretrained(folder)
    save_tokenizer(folder, model_max_length=LENGTH)
    return folder


def save_siglip(folder: Path) -> Path:
    """A small SigLIP, random, as transformers writes it."""
    import torch
    import transformers

    torch.manual_seed(2)
    config = transformers.SiglipConfig(
        text_config=small_text(projection_size=32), vision_config=small_vision()
    )
    transformers.SiglipModel(config).save_pretrained(folder)
    processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    save_tokenizer(folder, model_max_length=LENGTH, model_input_names=["input_ids"])
    return folder


def save_open_clip(folder: Path) -> Path:
    """A small dual encoder of open_clip, random, as open_clip writes it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(4)
    model = {
        "embed_dim": 24,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 20,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "resize_mode": "squash"}
    told = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    network = open_clip.CLIP(**model)
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def save_clap(folder: Path, *, fused: bool) -> Path:
    """A small CLAP, random, as transformers writes it."""
    import torch
    import transformers

    torch.manual_seed(3)
    audio = {
        "window_size": 4,
        "num_mel_bins": 16,
        "spec_size": 64,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "hidden_size": 32,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1, 1],
        "num_attention_heads": [1, 2, 4],
        "num_hidden_layers": 3,
        "enable_fusion": fused,
    }
    text = small_text(max_position_embeddings=LENGTH + 2, pad_token_id=0)
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=24)
    model = transformers.ClapModel(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-30, -10)
            module.running_var.uniform_(50, 100)
    model.save_pretrained(folder)
    transformers.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=8000,
        hop_length=80,
        fft_window_size=256,
        max_length_s=1,
        frequency_max=4000,
        truncation="fusion" if fused else "rand_trunc",
    ).save_pretrained(folder)
    save_tokenizer(folder, model_max_length=LENGTH)
    return folder


def in_this_process(config: Config, shards: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of all good samples of shards by shard and key, without Ray, a part after the other."""
    wanted = model_spec(config)
    decoder, predictor = open_model(wanted).decoder(), load_predictor(wanted)
    found = {}
    for part in plan(expand(shards)):
        table = predictor(decoder.decode(read_part(part, config.limits), part.to_json()))
        good = (row for row in table.to_pylist() if row["error"] is None)
        found |= {(row["shard"], row["key"]): row for row in good}
    return found
