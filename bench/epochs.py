"""What an epoch costs that reads what an earlier one decoded: train.cache none, memory and disk, in turn.

    python -m bench.epochs [--executor here] [--samples 6400] [--rounds 3]

Iterates the batches that a training worker would see (shuffled, 64 samples, as tensors), without a model. Prints
medians and ratios to the first epoch of each round, and writes them with machine, versions and commit to
bench/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray
import torch

from bench.workload import MODALITIES, make_shards
from pipeline.config import ClusterConfig, TrainConfig
from pipeline.engine.cluster.session import connect
from pipeline.engine.decoding.cache import CachedDecoder, prepare_cache
from pipeline.engine.executors.here import HereExecutor
from pipeline.engine.train.decoding import GoodRows
from pipeline.engine.train.here import HereTrainer
from pipeline.engine.train.kept import MEMORY_SHARE, KeptTables
from pipeline.engine.train.on_ray import RayTrainer
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.models.batch import to_tensors
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.training.feed import LaneFeed
from pipeline.training.order import Lanes

RESULTS = Path(__file__).parent / "results"
KINDS = ("none", "memory", "disk")
GOALS = {"memory": 8.0, "disk": 4.0}
TRAIN = TrainConfig()
LOAD = os.getloadavg()[0]  # what else the machine did


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", choices=("here", "ray"), default="here", help="who decodes")
    parser.add_argument("--samples", type=int, default=6400)
    parser.add_argument("--rounds", type=int, default=3, help="of each kind, in turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _trainers(options.executor) as new_trainer:
        make_shards(Path(folder) / "data", options.samples, 8)
        parts = plan(expand(f"{folder}/data"))
        tokenizer = train_tokenizer(["a photo of the old harbour with two boats"], 2048)
        decoder = Decoder.build(ModalitiesConfig.model_validate(MODALITIES), tokenizer)
        run_epochs(
            "none", parts, decoder, folder, new_trainer
        )  # workers start, files come into memory
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                times[kind].append(run_epochs(kind, parts, decoder, folder, new_trainer))
    rows = {kind: summary(pairs, options.samples) for kind, pairs in times.items()}
    print(f"{'cache':<8}{'epoch 1 s':>10}{'epoch 2 s':>11}{'samples/s':>11}{'ratio':>8}  (min-max)")
    for kind, row in rows.items():
        goal = f"  goal {GOALS[kind]:g}" if kind in GOALS else ""
        print(
            f"{kind:<8}{row['first_seconds']:>10.2f}{row['second_seconds']:>11.3f}"
            f"{row['second_samples_per_second']:>11.0f}{row['ratio']:>8.1f}"
            f"  ({row['ratio_min']:.1f}-{row['ratio_max']:.1f}){goal}"
        )
    found = {
        **environment(),
        "executor": options.executor,
        "samples": options.samples,
        "rounds": options.rounds,
        "caches": rows,
    }
    path = RESULTS / "epochs.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {path}")


@contextlib.contextmanager
def _trainers(executor: str) -> Iterator[Callable[[], RayTrainer | HereTrainer]]:
    """Makes trainers of a kind, each of which keeps nothing of the others."""
    if executor == "ray":
        with connect(ClusterConfig()):
            yield RayTrainer
        return
    with HereExecutor() as here, contextlib.ExitStack() as stack:
        room = MEMORY_SHARE * here.resources.memory_bytes
        yield lambda: HereTrainer(here, stack.enter_context(KeptTables(room)))


def run_epochs(
    kind: str,
    parts: list[Part],
    decoder: Decoder,
    folder: str,
    new_trainer: Callable[[], RayTrainer | HereTrainer],
) -> tuple[float, float]:
    """Seconds of a first and a second epoch with an empty cache."""
    with tempfile.TemporaryDirectory(dir=folder) as run:
        if kind == "disk":
            decoder = CachedDecoder.of(decoder, prepare_cache(run, {}, parts))
        trainer = new_trainer()
        began = time.perf_counter()
        rows = GoodRows(decoder, run)
        described = trainer.decode({"train": parts}, rows, keep=kind == "memory")["train"]
        sizes = [part.num_rows for part in described]
        names = [part.name for part in described]
        lanes = Lanes.of(sizes, names, TRAIN.lanes, TRAIN.shuffle_rows, seed=0)
        collate = partial(to_tensors, codecs=decoder.codecs)
        feed = LaneFeed(described, trainer.tables, collate, lanes, TRAIN.batch_size)
        for _ in feed.batches(0):
            pass
        first = time.perf_counter() - began
        began = time.perf_counter()
        for _ in feed.batches(1):
            pass
        return first, time.perf_counter() - began


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
