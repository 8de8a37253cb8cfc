"""What commits cost where there are many: 100,000 tiny parts written, recognised, published; a job of 1,000 parts.

    python -m bench.commits [--parts 100000] [--job-parts 1000] [--folder /dev/shm]

The tiny parts go through the sink alone, one sample each, in a folder that is best in memory: how fast a disk flushes a
hundred thousand files is its own affair. The job is real: a bundle with the weights that its network begins with, over
as many shards, run three times. Writes commits.json to bench/results/.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from bench.ingest import environment
from pipeline.config import load
from pipeline.engine.decoding.isolated import decode_here
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.bundle import Bundle
from pipeline.sample import PART, SHARD
from pipeline.shards.planning.plan import Part, Shard, plan, plan_shard, replan
from pipeline.sinks import ParquetConfig, records
from pipeline.sinks.parquet import ParquetSink

RESULTS = Path(__file__).parent / "results" / "commits.json"
IMAGE = {"image": {"fields": ["png"], "size": 8}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--job-parts", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        sink = tiny_parts(Path(folder), given.parts)
    with tempfile.TemporaryDirectory() as folder:
        job = job_again(Path(folder), given.job_parts)
    found = {**environment(), "sink": sink, "job": job}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"sink": sink, "job": job}, indent=1))


def tiny_parts(folder: Path, count: int) -> dict[str, float]:
    """Writes, recognises, publishes and recognises again so many parts of one sample."""
    [shard] = write_shards(folder / "in", 1, 1)
    decoder = Decoder.build(ModalitiesConfig.model_validate(IMAGE), None)
    [part] = plan([Shard(shard.name, str(shard), shard.stat().st_size, "0")])
    table = decode_here(part, decoder)
    shards = [Shard(f"{number:07}.tar", "nowhere", 1000, f"{number}") for number in range(count)]
    parts = [plan_shard(each)[0] for each in shards]
    told: dict[str, float] = {"parts": count}
    sink = ParquetSink(
        str(folder / "out"), {"model": "m"}, {"model": "m"}, ("image",), config=ParquetConfig()
    )
    sink.begin()
    with timed(told, "written_seconds"):
        for each in parts:
            sink.write(_as_part(table, each))
    with timed(told, "recognised_unpublished_seconds"):
        assert len(sink.done(parts)) == count
    with timed(told, "published_seconds"):
        sink.commit(parts)
    told["files"] = sum(len(files) for _, _, files in os.walk(folder / "out"))
    records._load.cache_clear()  # a rerun is another process
    with timed(told, "recognised_seconds"):
        sink.begin()
        known = replan(shards, [record.plan for record in sink.recorded()])
        assert len(sink.done([each for name in known for each in known[name]])) == count
    with timed(told, "nothing_to_publish_seconds"):
        sink.commit(parts)
    told["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {name: round(value, 3) for name, value in told.items()}


def job_again(folder: Path, count: int) -> dict[str, float]:
    """Runs a real job over so many shards three times."""
    write_shards(folder / "in", count, 2)
    config = folder / "job.yaml"
    config.write_text(
        f"""
run: {folder}/run
modalities: {{image: {{fields: [png], size: 8}}}}
objective: {{kind: classify, label: cls, width: 32, fusion: {{kind: concat}}}}
infer: {{input: "{folder}/in/*.tar"}}
""",
        encoding="utf-8",
    )
    seal(config, folder / "run" / "model")
    told: dict[str, float] = {"parts": count}
    for name in ("first", "second", "third"):
        done = subprocess.run(
            [sys.executable, "-m", "jobs.infer", str(config), "--json"],
            check=True,
            stdout=subprocess.PIPE,
        )
        summary = json.loads(done.stdout)
        assert summary["parts_done"] == (count if name == "first" else 0)
        told[f"{name}_seconds"] = summary["seconds"]
        told[f"{name}_start_up_seconds"] = summary["start_up_seconds"]
    return told


def seal(config_path: Path, folder: Path) -> None:
    """Writes a bundle of the configuration's network with the weights that it begins with."""
    import torch
    from safetensors.torch import save

    from pipeline.objectives.sealed import build

    config = load(config_path)
    objective, learned = config.require_objective(), {"classes": ["a", "b"]}
    torch.manual_seed(0)
    weights = build(objective, config.modalities, learned).state_dict()
    Bundle.of(
        objective=objective.model_dump(mode="json"),
        modalities=config.modalities,
        learned=learned,
        tokenizer=None,
        weights=save({name: value.contiguous() for name, value in weights.items()}),
    ).save(str(folder))


def write_shards(folder: Path, count: int, samples: int) -> list[Path]:
    """Shards of so many small pictures each."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number:06}.tar"
        with tarfile.open(path, "w") as archive:
            for sample in range(samples):
                data = io.BytesIO()
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(data, "PNG")
                member = tarfile.TarInfo(f"{sample:04}.png")
                member.size = data.tell()
                data.seek(0)
                archive.addfile(member, data)
        paths.append(path)
    return paths


def _as_part(table: pa.Table, part: Part) -> pa.Table:
    """The rows as if they were those of another part."""
    for name, value in ((PART, part.to_json()), (SHARD, part.shard)):
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array([value] * len(table), field.type))
    return table


@contextmanager
def timed(told: dict[str, float], name: str) -> Iterator[None]:
    """Notes the seconds that something takes."""
    began = time.perf_counter()
    yield
    told[name] = time.perf_counter() - began


if __name__ == "__main__":
    main()
