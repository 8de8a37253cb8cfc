"""What an epoch costs that reads what an earlier one decoded: train.cache none, memory and disk, in turn.

    python -m bench.epochs [--samples 6400] [--rounds 3]

Iterates the batches that a training worker would see (shuffled, 64 samples, as tensors), without a model. Prints
medians and ratios to the first epoch of each round, and writes them with machine, versions and commit to
bench/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray
import torch
from ray.data import Dataset

from bench.workload import MODALITIES, make_shards
from pipeline.config import ClusterConfig, TrainConfig
from pipeline.engine.cluster.session import connect
from pipeline.engine.decoding.cache import CachedDecoder, prepare_cache
from pipeline.engine.executors.dataset import read_parts
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.models.batch import to_tensors
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.sinks.quarantine import set_bad_aside

RESULTS = Path(__file__).parent / "results"
KINDS = ("none", "memory", "disk")
GOALS = {"memory": 8.0, "disk": 4.0}
TRAIN = TrainConfig()
LOAD = os.getloadavg()[0]  # what else the machine did


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=6400)
    parser.add_argument("--rounds", type=int, default=3, help="of each kind, in turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, connect(ClusterConfig()):
        make_shards(Path(folder) / "data", options.samples, 8)
        parts = plan(expand(f"{folder}/data"))
        tokenizer = train_tokenizer(["a photo of the old harbour with two boats"], 2048)
        decoder = Decoder.build(ModalitiesConfig.model_validate(MODALITIES), tokenizer)
        run_epochs("none", parts, decoder, folder)  # workers start, files come into memory
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                times[kind].append(run_epochs(kind, parts, decoder, folder))
    rows = {kind: summary(pairs, options.samples) for kind, pairs in times.items()}
    print(f"{'cache':<8}{'epoch 1 s':>10}{'epoch 2 s':>11}{'samples/s':>11}{'ratio':>8}  (min-max)")
    for kind, row in rows.items():
        goal = f"  goal {GOALS[kind]:g}" if kind in GOALS else ""
        print(
            f"{kind:<8}{row['first_seconds']:>10.2f}{row['second_seconds']:>11.3f}"
            f"{row['second_samples_per_second']:>11.0f}{row['ratio']:>8.1f}"
            f"  ({row['ratio_min']:.1f}-{row['ratio_max']:.1f}){goal}"
        )
    found = {**environment(), "samples": options.samples, "rounds": options.rounds, "caches": rows}
    path = RESULTS / "epochs.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {path}")


def run_epochs(kind: str, parts: list[Part], decoder: Decoder, folder: str) -> tuple[float, float]:
    """Seconds of a first and a second epoch with an empty cache."""
    with tempfile.TemporaryDirectory(dir=folder) as run:
        if kind == "disk":
            decoder = CachedDecoder.of(decoder, prepare_cache(run, {}, parts))
        blocks = read_parts(parts, decoder, partial(set_bad_aside, output=run), in_order=True)
        began = time.perf_counter()
        if kind == "memory":
            blocks = blocks.materialize()
        iterate(blocks, decoder, 0)
        first = time.perf_counter() - began
        return first, iterate(blocks, decoder, 1)


def iterate(blocks: Dataset, decoder: Decoder, epoch: int) -> float:
    """Seconds of one pass over the batches of a training worker."""
    began = time.perf_counter()
    batches = blocks.iter_batches(
        batch_size=TRAIN.batch_size,
        batch_format="pyarrow",
        local_shuffle_buffer_size=TRAIN.shuffle_rows,
        local_shuffle_seed=epoch,
    )
    for table in batches:
        to_tensors(table, decoder.codecs)
    return time.perf_counter() - began


def summary(pairs: list[tuple[float, float]], samples: int) -> dict[str, float]:
    ratios = [first / second for first, second in pairs]
    second = statistics.median(pair[1] for pair in pairs)
    return {
        "first_seconds": statistics.median(pair[0] for pair in pairs),
        "second_seconds": second,
        "second_samples_per_second": samples / second,
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def environment() -> dict[str, object]:
    """Machine, versions and commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "load_before": round(LOAD, 1),
        "python": platform.python_version(),
        "versions": {each.__name__: str(each.__version__) for each in (pa, ray, torch)},
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    main()
