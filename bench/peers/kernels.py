"""The work on one sample, twice: as most projects do it, and with this project's codecs."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from bench.workload import MODALITIES
from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec, Item

SIZE = MODALITIES["image"]["size"]
MAX_TOKENS = MODALITIES["text"]["max_tokens"]
RATE_HZ = MODALITIES["audio"]["sample_rate_hz"]
NUM_MELS = MODALITIES["audio"]["num_mels"]
NUM_SAMPLES = round(RATE_HZ * MODALITIES["audio"]["max_seconds"])
WINDOW, HOP = 400, 160
NUM_FRAMES = 1 + NUM_SAMPLES // HOP


@lru_cache(maxsize=1)
def image_transform() -> Any:
    """Torchvision's transform of a Pillow image: short side, then centre."""
    from torchvision import transforms

    return transforms.Compose([transforms.Resize(SIZE), transforms.CenterCrop(SIZE)])


def conventional_image(image: Any) -> np.ndarray:
    """A Pillow image -> (224, 224, 3) uint8."""
    return np.asarray(image_transform()(image.convert("RGB")))


def conventional_jpeg(data: bytes) -> np.ndarray:
    """A JPEG -> (224, 224, 3) uint8."""
    from PIL import Image

    return conventional_image(Image.open(io.BytesIO(data)))


def conventional_log_mel(data: bytes) -> np.ndarray:
    """A sound -> (80, 401) float16, in dB."""
    import librosa

    sound, _ = librosa.load(io.BytesIO(data), sr=RATE_HZ, mono=True, duration=NUM_SAMPLES / RATE_HZ)
    sound = librosa.util.fix_length(sound, size=NUM_SAMPLES)
    mel = librosa.feature.melspectrogram(
        y=sound, sr=RATE_HZ, n_fft=WINDOW, hop_length=HOP, n_mels=NUM_MELS
    )
    return np.asarray(librosa.power_to_db(mel), dtype=np.float16)


@lru_cache(maxsize=1)
def load_tokenizer(tokenizer: str) -> Any:
    """A tokenizer that cuts after 64 ids."""
    from tokenizers import Tokenizer

    engine = Tokenizer.from_str(tokenizer)
    engine.enable_truncation(MAX_TOKENS)
    return engine


def conventional_ids(text: str, tokenizer: str) -> np.ndarray:
    """A text -> (64,) int32 ids, padded with 0."""
    ids = np.zeros(MAX_TOKENS, dtype=np.int32)
    found = load_tokenizer(tokenizer).encode(text, add_special_tokens=False).ids
    ids[: len(found)] = found
    return ids


class OurKernels:
    """This project's codecs, without its reading, scheduling and tables.

    Args:
        tokenizer: The tokenizer's JSON.
    """

    def __init__(self, tokenizer: str) -> None:
        configs = ModalitiesConfig.model_validate(MODALITIES).by_name()
        self.codecs: dict[str, Codec] = {
            name: config.codec(tokenizer) for name, config in configs.items()
        }

    def images(self, values: Sequence[bytes]) -> np.ndarray:
        """JPEGs -> (B, 224, 224, 3) uint8."""
        return self._decode("image", "jpg", values)

    def log_mels(self, values: Sequence[bytes]) -> np.ndarray:
        """Sounds -> (B, 80, 401) float16, in dB."""
        return self._decode("audio", "wav", values)

    def ids(self, values: Sequence[bytes]) -> np.ndarray:
        """Texts -> (B, 64) int32 ids, padded with 0."""
        padded = np.zeros((len(values), MAX_TOKENS), dtype=np.int32)
        for row, ids in zip(padded, self._decode("text", "txt", values), strict=True):
            row[: len(ids)] = ids
        return padded

    def _decode(self, name: str, field: str, values: Sequence[bytes]) -> Any:
        codec = self.codecs[name]
        items = [Item(memoryview(value), field) for value in values]
        block = codec.empty(len(items))
        decoded = codec.decode_batch(items, None if block is None else list(block))
        for one in decoded:
            if isinstance(one, SampleError):
                raise one
        return decoded if block is None else block


_BUILT = threading.local()


def our_kernels(tokenizer: str) -> OurKernels:
    """The codecs, built once in a thread: they use their working memory again, so threads cannot share them."""
    if not hasattr(_BUILT, "kernels"):
        _BUILT.kernels = OurKernels(tokenizer)
    return _BUILT.kernels
