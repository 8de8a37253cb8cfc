"""A training step with each kind of encoder, by our loop and by a bare one: the same network, the same batch."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
import torch
from PIL import Image
from torch import Tensor

from bench.gpu.figures import seconds_of
from bench.gpu.training import CLASSES, Bare, Pair, in_turn
from pipeline.config import Config, validate
from pipeline.modalities.base import ModalityConfig, Noted
from pipeline.modalities.chance import CHANCE
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.models.batch import to_tensors
from pipeline.objectives.network import Objective
from pipeline.objectives.sealed import build
from pipeline.settings import sections_of

WORDS = ("river", "engine", "violin", "harvest", "window", "planet", "market", "winter")
TOKENIZER = train_tokenizer([" ".join(WORDS)], 300)
# Needs weights from elsewhere; what is behind it is a linear layer.
LEFT_OUT = "pretrained"
BATCH, DIFFERENT_MEMBERS = 64, 8
SECONDS, RATE_HZ = 2.0, 16_000
# Of a round: so many steps as take so long.
ROUND_SECONDS, LEAST_STEPS, MOST_STEPS = 0.7, 3, 40

Draw = np.random.Generator


@dataclass(frozen=True)
class Members:
    """Members of a modality.

    Attributes:
        field: Their extension.
        make: Draws one.
        settings: Of the modality.
        quick: Settings with which a step takes next to nothing.
    """

    field: str
    make: Callable[[Draw], bytes]
    settings: dict[str, Any] = field(default_factory=dict)
    quick: dict[str, Any] = field(default_factory=dict)


def steps(
    device: torch.device, dtype: torch.dtype, rounds: int, *, quick: bool
) -> Iterator[tuple[str, int, list[Pair]]]:
    """``MODALITY/KIND``, steps of a round, and (seconds of ours, seconds of the bare loop's) of each round."""
    for modality, members in MEMBERS.items():
        for kind in kinds_of(modality, members):
            network, batch = _case(modality, members, kind, device, quick=quick)
            bare = Bare(network(), batch, device, dtype)
            bare.run(1)
            cost = seconds_of(lambda bare=bare: bare.run(1), device)  # type: ignore[misc]
            count = LEAST_STEPS if quick else int(min(MOST_STEPS, ROUND_SECONDS / cost))
            count = max(LEAST_STEPS, count)
            yield (
                f"{modality}/{kind}",
                count,
                in_turn(network, [batch], device, dtype, rounds, count),
            )


def kinds_of(modality: str, members: Members) -> list[str]:
    """The encoders of a modality, as its union has them."""
    section = _section(modality, members, {}).modalities.by_name()[modality]
    union = type(section).model_fields["encoder"].annotation
    kinds = [str(member.model_fields["kind"].default) for member in sections_of(union)]
    return [kind for kind in kinds if kind != LEFT_OUT]


def _case(
    modality: str, members: Members, kind: str, device: torch.device, *, quick: bool
) -> tuple[Callable[[], Objective], dict[str, Tensor]]:
    """What builds the network, and a batch of decoded members."""
    settings = {**(members.quick if quick else {}), "encoder": {"kind": kind}}
    config = _section(modality, members, settings)
    section = config.modalities.by_name()[modality]
    codec = section.codec(TOKENIZER)
    draw = np.random.default_rng(0)
    values = []
    for _ in range(DIFFERENT_MEMBERS):
        value = codec.decode(memoryview(members.make(draw)), members.field)
        values.append(value.value if isinstance(value, Noted) else value)
    size = DIFFERENT_MEMBERS if quick else BATCH
    column = codec.to_arrow([values[row % DIFFERENT_MEMBERS] for row in range(size)])
    statistics = _statistics(modality, section, column)

    def network() -> Objective:
        torch.manual_seed(0)
        learned = {"classes": CLASSES}
        made = build(config.require_objective(), config.modalities, learned, statistics)
        return made.to(device).train()

    table = pa.Table.from_arrays([column], schema=pa.schema([codec.column]))
    tensors = to_tensors(table.rename_columns([modality]), {modality: codec})
    targets = network().targets([CLASSES[row % len(CLASSES)] for row in range(size)])
    return network, {**tensors, **targets, CHANCE: torch.arange(size)}


def _section(modality: str, members: Members, settings: dict[str, Any]) -> Config:
    section = {"fields": [members.field], **members.settings, **settings}
    return validate(
        {
            "run": ".",
            "modalities": {modality: section},
            "objective": {"kind": "classify", "label": "cls", "fusion": {"kind": "concat"}},
        }
    )


def _statistics(
    modality: str, section: ModalityConfig, column: pa.Array
) -> dict[str, dict[str, Any]]:
    collector = section.training_statistics()
    if collector is None:
        return {}
    collector.add(column)
    return {modality: dict(collector.result())}


def _photo(draw: Draw) -> bytes:
    data = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


def _clip(draw: Draw) -> bytes:
    data = io.BytesIO()
    frames = [Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(8)]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    return data.getvalue()


def _text(draw: Draw) -> bytes:
    return " ".join(draw.choice(WORDS, 40)).encode()


def _sound(draw: Draw) -> bytes:
    data = io.BytesIO()
    wave = draw.normal(size=int(SECONDS * RATE_HZ)) / 10
    soundfile.write(data, wave, RATE_HZ, format="WAV", subtype="PCM_16")
    return data.getvalue()


def _series(draw: Draw) -> bytes:
    data = io.BytesIO()
    np.save(data, draw.normal(size=(256, 4)).astype(np.float32))
    return data.getvalue()


MEMBERS = {
    "image": Members("png", _photo, {"size": 64}, {"size": 16}),
    "text": Members("txt", _text, {}, {"max_tokens": 8}),
    "audio": Members(
        "wav", _sound, {"sample_rate_hz": RATE_HZ, "max_seconds": SECONDS}, {"max_seconds": 0.5}
    ),
    "video": Members("gif", _clip, {"size": 64, "frames": 4}, {"size": 16, "frames": 2}),
    "vector": Members("npy", _series, {"shape": [256, 4]}),
}
