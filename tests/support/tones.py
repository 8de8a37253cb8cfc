"""Small real samples: a colour, a tone and a sentence that belong together."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

CLASSES = ("high", "low", "mid")
COLOURS = {"high": (220, 40, 40), "low": (40, 220, 40), "mid": (40, 40, 220)}
TONES_HZ = {"high": 1800.0, "low": 300.0, "mid": 800.0}
WORDS = {"high": "a high tone 高音", "low": "a low tone 低音", "mid": "a middle tone 中音"}


def png(colour: tuple[int, int, int] = (200, 30, 30), size: int = 20) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(data, "PNG")
    return data.getvalue()


def wav(tone_hz: float = 440.0, seconds: float = 0.3, rate: int = 8000) -> bytes:
    time = np.arange(int(seconds * rate)) / rate
    data = io.BytesIO()
    soundfile.write(data, 0.5 * np.sin(2 * np.pi * tone_hz * time), rate, format="WAV")
    return data.getvalue()


def sample_fields(label: str, rng: np.random.Generator) -> dict[str, bytes]:
    """A sample that any of its modalities gives away."""
    shade = rng.integers(-30, 30, 3)
    colour = tuple(int(v) for v in np.clip(np.array(COLOURS[label]) + shade, 0, 255))
    return {
        "png": png(colour),
        "wav": wav(TONES_HZ[label] * float(rng.uniform(0.95, 1.05))),
        "txt": f"{WORDS[label]} {rng.integers(100)}".encode(),
        "cls": label.encode(),
        "json": json.dumps({"who": {"label": label}}).encode(),
    }


def write_tar(path: Path, samples: Mapping[str, Mapping[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, fields in samples.items():
            for extension, data in fields.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def make_samples(count: int, seed: int) -> dict[str, dict[str, bytes]]:
    rng = np.random.default_rng(seed)
    made = {f"s{i:04d}": sample_fields(CLASSES[i % 3], rng) for i in range(count)}
    for index, fields in enumerate(made.values()):
        if index % 7 == 3:
            del fields[("png", "wav", "txt")[index % 3]]
    return made
