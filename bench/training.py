"""Trainings from shards against a loop written by hand over tensors in memory: the same network, batches and steps.

    python -m bench.training [--samples 1280] [--epochs 4] [--rounds 3] [--executor here]

Each configuration is a process of its own, in turn: `jobs.train` with train.cache none, memory and disk, and the hand-
written loop. What is compared are samples a second from the second epoch on, without validation and augmentation. The
loop has the network, optimizer, clipping, schedule and average that the training has, and its samples decoded, collated
and in memory before it begins. Prints medians and ratios of a round, and writes them with machine, versions and
commit to bench/results/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from torch import nn

from bench.epochs import environment
from bench.workload import make_shards
from pipeline.config import Config, load
from pipeline.engine.decoding.isolated import decode_here
from pipeline.modalities.chance import CHANCE
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.batch import to_tensors
from pipeline.models.bundle import Bundle
from pipeline.models.memory import keep_freed_memory
from pipeline.objectives.sealed import build
from pipeline.sample import ERROR, LABEL
from pipeline.shards.planning.plan import expand, plan
from pipeline.training.feed import num_rows
from pipeline.training.optimization.average import build_average
from pipeline.training.optimization.optimizers import build_optimizer
from pipeline.training.optimization.schedule import build_schedule

RESULTS = Path(__file__).parent / "results"
KINDS = ("none", "memory", "disk")
GOAL = 0.97
BARE = "by hand"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    parser.add_argument("--executor", choices=("here", "ray"), default="here", help="who trains")
    parser.add_argument("--bare", metavar="CONFIG", help="runs the loop alone, and prints its rate")
    options = parser.parse_args()
    if options.bare:
        print(json.dumps({"samples_per_second": by_hand(load(options.bare))}))
        return
    rates: dict[str, list[float]] = {kind: [] for kind in (*KINDS, BARE)}
    waits: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        make_shards(Path(folder) / "data", options.samples, 8)
        path = configuration(Path(folder), options)
        train(
            path, "memory", Path(folder) / "first"
        )  # files come into memory, and labels are known
        for number in range(options.rounds):
            for kind in KINDS:
                rate, waiting = train(path, kind, Path(folder) / f"{kind}-{number}")
                rates[kind].append(rate)
                waits[kind].append(waiting)
            command = [sys.executable, "-m", "bench.training", "--bare", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rates[BARE].append(json.loads(done.stdout.splitlines()[-1])["samples_per_second"])
    rows = {kind: summary(rates[kind], rates[BARE], waits[kind]) for kind in KINDS}
    print(f"{BARE}: {statistics.median(rates[BARE]):.1f} samples/s")
    print(f"{'cache':<8}{'samples/s':>10}{'of by hand':>12}{'waiting':>9}")
    for kind, row in rows.items():
        print(
            f"{kind:<8}{row['samples_per_second']:>10.1f}{row['ratio']:>12.3f}{row['waiting']:>9.1%}"
            f"  ({row['ratio_min']:.3f}-{row['ratio_max']:.3f}, goal {GOAL})"
        )
    found = {
        **environment(),
        **{name: getattr(options, name) for name in ("samples", "epochs", "rounds", "executor")},
        BARE: rates[BARE],
        "caches": rows,
    }
    result = RESULTS / "training.json"
    result.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {result}")


def configuration(folder: Path, options: argparse.Namespace) -> Path:
    """Photos of 64 pixels, sounds and texts, and the default networks."""
    settings = {
        "run": str(folder / "first"),
        "input": {"train": f"{folder}/data/*.tar"},
        "modalities": {
            "image": {"fields": ["jpg"], "size": 64, "encoder": {"kind": "cnn"}},
            "text": {
                "fields": ["txt"],
                "max_tokens": 64,
                "vocab_size": 1024,
                "encoder": {"kind": "transformer"},
            },
            "audio": {
                "fields": ["wav"],
                "sample_rate_hz": 16000,
                "max_seconds": 2.0,
                "num_mels": 40,
                "encoder": {"kind": "cnn"},
            },
        },
        "objective": {"kind": "classify", "label": "cls", "fusion": {"kind": "gated"}},
        "train": {"epochs": options.epochs, "batch_size": 64, "augment": False},
        "cluster": {"executor": options.executor},
    }
    path = folder / "training.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def train(path: Path, cache: str, run: Path) -> tuple[float, float]:
    """Trains as a person would.

    Returns:
        Samples a second from the second epoch on, and the share of that time that was spent waiting for data.
    """
    command = [sys.executable, "-m", "jobs.train", str(path), f"train.cache={cache}", f"run={run}"]
    subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:]
    seconds = sum(row["seconds"] for row in rows)
    waiting = sum(row["waiting_seconds"] for row in rows)
    return sum(row["rows_train"] for row in rows) / seconds, waiting / seconds


def by_hand(config: Config) -> float:
    """Samples a second of the loop, from its second epoch on."""
    keep_freed_memory()
    settings = config.train
    torch.manual_seed(settings.seed)
    bundle = Bundle.load(config.folder("model"))
    network = build(config.require_objective(), config.modalities, bundle.learned).train()
    decoder = Decoder.build(
        config.modalities,
        bundle.tokenizer,
        target=config.require_objective().targets(bundle.learned),
    )
    batches = []
    for part in plan(expand(str(config.input.train))):
        table = decode_here(part, decoder)
        assert not table[ERROR].drop_null().length(), "of the benchmark's samples none is bad"
        batches.append(
            {**to_tensors(table, decoder.codecs), **network.targets(table[LABEL].to_pylist())}
        )
    samples = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    rows = num_rows(samples)
    steps = -(-rows // settings.batch_size)
    optimizer = build_optimizer(network, settings.learning_rate, settings.weight_decay)
    total = steps * settings.epochs
    schedule = build_schedule(optimizer, total, int(total * settings.warmup_fraction))
    average = build_average(network, settings.average_decay)
    seconds = 0.0
    for epoch in range(settings.epochs):
        began = time.perf_counter()
        for rows_of_batch in torch.randperm(rows).split(settings.batch_size):
            batch = {name: values[rows_of_batch] for name, values in samples.items()}
            batch[CHANCE] = rows_of_batch
            optimizer.zero_grad(set_to_none=True)
            loss, _ = network.loss(batch)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
        seconds += (time.perf_counter() - began) * (epoch > 0)
    return rows * (settings.epochs - 1) / seconds


def summary(ours: list[float], bare: list[float], waits: list[float]) -> dict[str, float]:
    ratios = [rate / by_hand for rate, by_hand in zip(ours, bare, strict=True)]
    return {
        "samples_per_second": statistics.median(ours),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "waiting": statistics.median(waits),
    }


if __name__ == "__main__":
    main()
