"""Members of each modality, and the settings that keep a test of an encoder quick."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec, ModalityConfig
from pipeline.modalities.text.codec import train_tokenizer
from support import clips
from support.tones import wav
from support.vectors import npy, wave

PRETRAINED = "pretrained"
TOKENIZER = train_tokenizer(["a tone"], 300)


def picture(seed: int) -> bytes:
    """A PNG of colours that differ from pixel to pixel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


@cache
def weights_folder() -> Path:
    """A folder for weights, removed when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="weights-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def bert() -> dict[str, str]:
    """A small encoder of texts as transformers writes it, with weights by chance, and a tokenizer of whole words."""
    import torch
    import transformers

    from support.encoders import save_tokenizer, small_text

    torch.manual_seed(0)
    folder = weights_folder() / "bert"
    transformers.BertModel(transformers.BertConfig(**small_text())).save_pretrained(folder)
    save_tokenizer(folder)
    return {"name": f"hf:{folder}"}


@cache
def vit() -> dict[str, str]:
    """A small transformer of timm, with weights by chance that lie in a file."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = weights_folder() / "vit.safetensors"
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), path)
    return {"name": "timm:test_vit", "weights": str(path)}


@cache
def clip() -> dict[str, str]:
    """A small CLIP of transformers."""
    from support.encoders import save_clip

    return {"name": f"hf:{save_clip(weights_folder() / 'clip')}"}


@cache
def siglip() -> dict[str, str]:
    """A small SigLIP of transformers."""
    from support.encoders import save_siglip

    return {"name": f"hf:{save_siglip(weights_folder() / 'siglip')}"}


@cache
def clap(*, fused: bool = False) -> dict[str, str]:
    """A small CLAP of transformers."""
    from support.encoders import save_clap

    return {"name": f"hf:{save_clap(weights_folder() / f'clap-{fused}', fused=fused)}"}


@cache
def open_clip() -> dict[str, str]:
    """A small dual encoder of open_clip, in a folder."""
    from support.encoders import save_open_clip

    folder = weights_folder() / "open_clip"
    folder.mkdir()
    return {"name": "open_clip:small", "weights": str(save_open_clip(folder))}


# What the pretrained encoders of each modality come from.
SOURCES: dict[str, dict[str, Callable[[], dict[str, str]]]] = {
    "image": {"timm": vit, "clip": clip, "siglip": siglip, "open_clip": open_clip},
    "text": {"bert": bert, "clip": clip, "siglip": siglip, "clap": clap, "open_clip": open_clip},
    "audio": {"clap": clap, "clap_fused": partial(clap, fused=True)},
}


@dataclass(frozen=True)
class ModalityCase:
    """A modality that encoders are tested with.

    Attributes:
        name: Of the modality.
        field: Extension of the members.
        members: Two of them.
        settings: Of the modality.
        alike: Values of a batch -> two that differ in nothing but what is masked.
        quick: Kind -> settings without which a test of that encoder would take long.
    """

    name: str
    field: str
    members: tuple[bytes, bytes]
    settings: dict[str, Any]
    alike: Callable[[Tensor], tuple[Tensor, Tensor]]
    quick: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def members_of(self, kind: str) -> list[str]:
        """The encoders that a kind is tested by: ``KIND``, or ``KIND/SOURCE`` for each of :data:`SOURCES`."""
        sources = SOURCES[self.name] if kind == PRETRAINED else {}
        return [f"{kind}/{source}" for source in sources] or [kind]

    def config(self, encoder: str | None = None, **settings: Any) -> ModalityConfig:
        """The modality's section, with an encoder as :meth:`members_of` names it, and settings of that."""
        section = dict(self.settings)
        if encoder is not None:
            kind, _, source = encoder.partition("/")
            chosen = {**SOURCES[self.name][source](), "trainable_blocks": "all"} if source else {}
            section["encoder"] = {"kind": kind, **chosen, **self.quick.get(kind, {}), **settings}
        return ModalitiesConfig.model_validate({self.name: section}).by_name()[self.name]

    def codec(self, encoder: str) -> Codec:
        config = self.config(encoder)
        tokenizing = config.tokenizing()
        ready = tokenizing.ready if tokenizing else None
        return config.codec(ready() if ready else TOKENIZER)


def unmasked(values: Tensor) -> tuple[Tensor, Tensor]:
    """The same twice: nothing else can lie where these are masked."""
    return values, values


def trimmed(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Texts, and the same without the columns that hold no token of any; int64 (B, L)."""
    length = int((ids != 0).any(dim=0).sum())
    assert 0 < length < ids.shape[1]
    return ids, ids[:, :length]


def whispering(decibels: Tensor) -> tuple[Tensor, Tensor]:
    """Sounds, and the same with less than a decibel in their silent frames; float16 (B, F, N), or waveforms."""
    if decibels.ndim == 2:
        return unmasked(decibels)
    silent = decibels.amax(dim=1, keepdim=True) <= decibels.amax(dim=(1, 2), keepdim=True) - 80
    assert silent.any()
    return decibels, decibels + 0.5 * silent


def hidden(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Series with gaps, and the same with numbers there; float32 (B, 2, T, C)."""
    gapped = vectors.clone()
    gapped[:, 1, 20:29] = 0
    gapped[:, 1, 40:, 1] = 0
    other = gapped.clone()
    other[:, 0] += 1e3 * (1 - gapped[:, 1])
    return gapped, other


@cache
def cases() -> dict[str, ModalityCase]:
    """Modality -> its case."""
    every = (
        ModalityCase(
            "image",
            "png",
            (picture(1), picture(2)),
            {"size": 32},
            unmasked,
            {"resnet": {"channels": 8}},
        ),
        ModalityCase(
            "text",
            "txt",
            ("a tone 音".encode(), b"tone a a tone"),
            {"max_tokens": 12, "vocab_size": 300},
            trimmed,
        ),
        ModalityCase(
            "audio",
            "wav",
            (wav(440.0), wav(1300.0)),
            {"sample_rate_hz": 8000, "max_seconds": 0.5, "num_mels": 16},
            whispering,
        ),
        ModalityCase(
            "vector", "npy", (npy(wave(3, 0)), npy(wave(5, 1))), {"shape": [64, 2]}, hidden
        ),
        ModalityCase(
            "video",
            "mp4",
            (clips.clip("mp4", 24), clips.clip("mp4", 2)),
            {"size": 16, "frames": 3},
            unmasked,
        ),
    )
    return {case.name: case for case in every}
