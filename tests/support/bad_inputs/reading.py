"""Reads a folder of shards to rows, as a job does. Run as a program, it tells how many rows, and its peak memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa

from pipeline.engine.decoding import isolated
from pipeline.engine.decoding.part import decode_part
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.shards.planning.plan import expand, plan

MODALITIES = ModalitiesConfig.model_validate(
    {
        "image": {
            "fields": ["png", "jpg", "jpeg", "webp", "gif", "tiff", "bmp", "avif"],
            "size": 16,
        },
        "text": {"fields": ["txt"], "max_tokens": 8},
        "audio": {
            "fields": ["wav", "flac", "mp3", "ogg", "aiff"],
            "sample_rate_hz": 8000,
            "max_seconds": 0.25,
            "num_mels": 8,
        },
    }
)


@cache
def decoder() -> Decoder:
    tokenizer = train_tokenizer(["a low tone", "a tone 音"], 300)
    return Decoder.build(
        MODALITIES, tokenizer, metadata=["json"], target=ClassTarget("cls", frozenset(["low"]))
    )


def tables(folder: Path, part_bytes: int = 1 << 20) -> Iterator[pa.Table]:
    """The rows of each part."""
    for part in plan(expand(str(folder)), part_bytes):
        yield decode_part(part, decoder())


def peak_mib() -> float:
    """The most memory that this process has held, and the most that any of those has that it decoded in."""
    isolated.end_child()
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1 << 10)
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return most + int(line.split()[1]) / (1 << 10)


if __name__ == "__main__":
    rows = sum(table.num_rows for table in tables(Path(sys.argv[1])))
    sys.stdout.write(f"{rows} {peak_mib()}\n")
