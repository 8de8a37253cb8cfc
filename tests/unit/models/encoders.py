"""Small encoders that tests save to disk, and samples to embed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.modalities import ModalitiesConfig
from pipeline.objectives.model import ModelSpec, open_model
from pipeline.objectives.predictor import load_predictor
from pipeline.sample import Field, Sample

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
