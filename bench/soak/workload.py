"""What the killed jobs work on: an output with a snapshot, and an input that has changed since."""

from __future__ import annotations

import io
import json
import tarfile
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from bench.soak.kills import run_unkilled
from bench.soak.readers import Rows, read_output
from pipeline.modalities import ModalitiesConfig
from pipeline.models.bundle import Bundle
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.sealed import build

OLD_SHARDS = 6  # that the first snapshot holds; one of them changes then, and one goes
CHANGED, GONE, CUT = 1, 2, 4
PICTURES = 24  # distinct ones
SIDE = 500  # of a picture
RATE_HZ = 8000
CLASSES = ("high", "low", "mid")
LEARNED = {"classes": list(CLASSES)}
MODALITIES = {
    "image": {"fields": ["png"], "size": 16},
    "audio": {"fields": ["wav"], "sample_rate_hz": RATE_HZ, "max_seconds": 0.3, "num_mels": 20},
}


@dataclass(frozen=True)
class Workload:
    """Inputs, and the outputs of jobs that nobody killed.

    Attributes:
        config: The configuration; ``infer.output=`` says where a job writes.
        before: An output as it was before the input changed; jobs begin with copies of it.
        old: What readers see of ``before``.
        new: What they are to see of every output in the end.
        num_parts: Parts that a job has to do which begins with a copy of ``before``.
    """

    config: Path
    before: Path
    old: Rows
    new: Rows
    num_parts: int


def make_workload(folder: Path, num_shards: int, samples: int, executor: str = "ray") -> Workload:
    """Writes shards, a bundle and a configuration, and runs two jobs in peace.

    Args:
        folder: Where all of it goes.
        num_shards: Of the input that the killed jobs have.
        samples: Of a shard.
        executor: Of all jobs.
    """
    pictures = _pictures()

    def write(index: int, seed: int) -> None:
        _write_shard(folder / "in" / f"s-{index:03d}.tar", pictures, samples, seed)

    for index in range(OLD_SHARDS):
        write(index, index)
    write_bundle(folder / "model")
    config = _write_config(folder, executor)
    before, after = folder / "before", folder / "after"
    run_unkilled(config, before)
    write(CHANGED, 1000)
    (folder / "in" / f"s-{GONE:03d}.tar").unlink()
    for index in range(OLD_SHARDS, num_shards):
        write(index, index)
    with (folder / "in" / f"s-{OLD_SHARDS + CUT:03d}.tar").open("r+b") as file:
        file.truncate(file.seek(0, io.SEEK_END) // 2)  # a damaged shard is a row in the quarantine
    run_unkilled(config, after)
    return Workload(
        config,
        before,
        read_output(before),
        read_output(after),
        num_parts=num_shards - OLD_SHARDS + 1,
    )


def _write_config(folder: Path, executor: str) -> Path:
    path = folder / "job.yaml"
    settings = {
        "run": str(folder / "run"),
        "modalities": MODALITIES,
        "infer": {"input": f"{folder}/in/*.tar", "model": f"{folder}/model", "batch_size": 32},
        "input": {"metadata": ["json"], "max_bad_fraction": 0.5},
        "cluster": {"num_cpus": 2, "executor": executor},
    }
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return path


def write_bundle(folder: Path, settings: Mapping[str, Any] = MODALITIES) -> None:
    """A network as it is before training: what it predicts depends on every input all the same.

    Args:
        folder: Where it goes.
        settings: Its modalities.
    """
    modalities = ModalitiesConfig.model_validate(settings)
    objective = ClassifyConfig.model_validate(
        {"kind": "classify", "width": 32, "fusion": {"kind": "concat"}}
    )
    torch.manual_seed(0)
    weights = build(objective, modalities, LEARNED).state_dict()
    Bundle.of(
        objective=objective.model_dump(mode="json"),
        modalities=modalities,
        learned=LEARNED,
        tokenizer=None,
        weights=save({name: value.contiguous() for name, value in weights.items()}),
    ).save(str(folder))


def _pictures() -> list[bytes]:
    """PNG files of gradients in random colours."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, SIDE)[:, None, None]
    found = []
    for _ in range(PICTURES):
        one, other = random.integers(0, 256, (2, 3))
        pixels = np.broadcast_to(one + ramp * (other - one), (SIDE, SIDE, 3)).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG", compress_level=1)
        found.append(data.getvalue())
    return found


def _write_shard(path: Path, pictures: Sequence[bytes], samples: int, seed: int) -> None:
    """A shard whose samples all differ in their sound; every tenth picture is broken."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(samples):
            picture = pictures[random.integers(len(pictures))]
            fields = {
                "png": picture[:-100] if index % 10 == 7 else picture,
                "wav": _tone(float(random.uniform(200, 3000))),
                "json": json.dumps({"seed": seed, "index": index}).encode(),
            }
            for extension, data in fields.items():
                member = tarfile.TarInfo(f"k{index:04d}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _tone(hz: float) -> bytes:
    time = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.sin(2 * np.pi * hz * time) * 16000).astype("<i2").tobytes())
    return data.getvalue()
