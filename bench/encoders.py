"""``jobs.infer`` with a pretrained image encoder against a hand-written loop, in turn (A B A B ...).

    python -m bench.encoders [--rounds 3] [--samples 4000] [--size 64] [--quick]
    python -m bench.encoders --model torchvision:resnet50 --runs loop-kept job-parquet   # whole images

Both run ResNet-50 with the same random weights over the same JPEGs, with the same decoder, on all cores. The marginal
rate is (4 n - n) samples over the difference of their whole runs, which leaves start-up and shut-down out. Prints the
ratios of each round, and writes all single values with machine, versions and commit to bench/results/.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import shutil
import statistics
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.ingest import environment
from bench.measure import measure

RESULTS = Path(__file__).parent / "results"
FILES = {"timm:resnet50": "encoders.json", "torchvision:resnet50": "encoders_torchvision.json"}
LOOPS = ("loop", "loop-kept")  # the second keeps freed memory, as the job does
RUNS = (*LOOPS, "job", "job-parquet")
NAME = "resnet50"
SHARDS, TIMES = 8, 4  # the large set is the small one's shards under several names
PHOTO = (160, 120)
BATCH = 64
WANTED = 0.95  # of the hand-written loop's marginal rate
LIBRARIES = ("timm", "transformers", "open_clip_torch")


def main() -> None:
    given = options()
    small, large = make_inputs(given.data, given.samples)
    weights = make_weights(given)
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    chosen = {name: getattr(given, name) for name in ("model", "samples", "size")}
    head = {**environment(), "libraries": versions, **chosen}
    rounds: list[dict[str, Any]] = []
    for number in range(given.rounds):
        rounds.append({})
        for shards, times in ((small, 1), (large, TIMES)):
            for name in given.runs:
                run = one_run(name, shards, weights, given, times)
                rounds[-1][f"{name}-x{times}"] = run
                told = f"{run['wall_seconds']:.1f} s, {run['cpu_seconds']:.1f} CPU-s"
                print(f"round {number + 1} {name} x{times}: {told}", file=sys.stderr, flush=True)
        rounds[-1]["ratios"] = ratios(rounds[-1], given)
        given.output.parent.mkdir(parents=True, exist_ok=True)
        found = {**head, "wanted": WANTED, "rounds": rounds}
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    report(rounds, given.output)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=4000, help="of the small set")
    parser.add_argument("--model", choices=FILES, default="timm:resnet50")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="what is measured")
    parser.add_argument("--size", type=int, default=64, help="side that timm's network looks at")
    parser.add_argument("--quick", action="store_true", help="few samples: does all of it run?")
    parser.add_argument("--data", type=Path, default=Path("runs/bench/encoders"))
    parser.add_argument("--output", type=Path, help="in the data folder with --quick")
    given = parser.parse_args()
    if given.quick:
        given.samples, given.rounds = 96, 1
    if given.model.startswith("torchvision:"):
        given.size = 224  # as its published weights want it
    given.output = given.output or (given.data if given.quick else RESULTS) / FILES[given.model]
    given.data = given.data.absolute()
    return given


def make_inputs(folder: Path, samples: int) -> tuple[str, str]:
    """Shards of small photos; the globs of ``samples`` of them and of ``TIMES`` as many."""
    small = folder / f"x1-{samples}"
    large = folder / f"x{TIMES}-{samples}"
    if not large.is_dir():
        shutil.rmtree(small, ignore_errors=True)
        small.mkdir(parents=True)
        random = np.random.default_rng(0)
        photos = [_photo(random) for _ in range(64)]
        for shard in range(SHARDS):
            with tarfile.open(small / f"photos-{shard:06d}.tar", "w") as archive:
                for number in range(shard, samples, SHARDS):
                    member = tarfile.TarInfo(f"{number:08d}.jpg")
                    member.size = len(photos[number % len(photos)])
                    archive.addfile(member, io.BytesIO(photos[number % len(photos)]))
        partial = large.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for time in range(TIMES):
            for path in small.glob("*.tar"):
                os.link(path, partial / f"{time}-{path.name}")
        partial.rename(large)
    return f"{small}/*.tar", f"{large}/*.tar"


def _photo(random: np.random.Generator) -> bytes:
    coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(coarse).resize(PHOTO, Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
    return data.getvalue()


def make_weights(given: argparse.Namespace) -> Path:
    """Random weights: a folder as timm writes it, for images of ``--size`` pixels, or a file of torchvision's."""
    import torch

    torch.manual_seed(0)
    given.data.mkdir(parents=True, exist_ok=True)
    if given.model.startswith("torchvision:"):
        return _torchvision_weights(given.data / f"{NAME}.pth")
    return _timm_weights(given.data / f"weights-{given.size}", given.size)


def _torchvision_weights(file: Path) -> Path:
    if not file.is_file():
        import torch
        import torchvision

        network = torchvision.models.get_model(NAME, weights=None)
        partial = file.with_suffix(".part")
        torch.save(network.state_dict(), partial)
        partial.rename(file)
    return file


def _timm_weights(folder: Path, size: int) -> Path:
    if not (folder / "config.json").is_file():
        import timm
        from safetensors.torch import save_file

        folder.mkdir(exist_ok=True)
        network = timm.create_model(NAME, pretrained=False)
        save_file(network.state_dict(), folder / "model.safetensors")
        config = {
            "input_size": [3, size, size],
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        }
        text = json.dumps({"architecture": NAME, "pretrained_cfg": config})
        (folder / "config.json").write_text(text)
    return folder


def one_run(
    name: str, shards: str, weights: Path, given: argparse.Namespace, times: int
) -> dict[str, Any]:
    """Runs the loop or the job once, in a process of its own.

    Raises:
        SystemExit: It failed, or did not do all samples.
    """
    run_folder = given.data / "run"
    shutil.rmtree(run_folder, ignore_errors=True)
    load = round(os.getloadavg()[0], 2)
    if name in LOOPS:
        command = _loop(name, given.model, shards, weights)
    else:
        command = _job(name, given.model, shards, weights, run_folder)
    found = measure(command)
    done = found.answer.get("samples", found.answer.get("samples_written"))
    if found.failed or done != given.samples * times:
        raise SystemExit(
            f"{name} x{times}: exit code {found.exit_code}, {done} samples, {found.error}"
        )
    shutil.rmtree(run_folder, ignore_errors=True)
    found.answer.pop("outputs", None)  # locations of this machine
    return {**asdict(found), "load": load}


def _loop(name: str, model: str, shards: str, weights: Path) -> list[str]:
    processes = str(os.cpu_count() or 1)
    sized = ["--batch-size", str(BATCH), "--processes", processes]
    place = ["--model", model, "--shards", shards, "--weights", str(weights)]
    kept = ["--keep-memory"] if name == "loop-kept" else []
    return [sys.executable, "-m", "bench.peers.bare_encoder", *place, *sized, *kept]


def _job(name: str, model: str, shards: str, weights: Path, run_folder: Path) -> list[str]:
    config = run_folder.parent / "job.yaml"
    sink = "parquet" if name == "job-parquet" else "none"
    config.write_text(
        f"run: {run_folder}\n"
        f"modalities: {{image: {{fields: [jpg]}}}}\n"
        f"infer: {{input: '{shards}', model: '{model}', weights: '{weights}', batch_size: {BATCH}}}\n"
        f"sink: {{kind: {sink}}}\n"
    )
    return [sys.executable, "-m", "jobs.infer", str(config), "--json"]


def ratios(runs: dict[str, Any], given: argparse.Namespace) -> dict[str, float]:
    """Marginal rates in samples a second, and what share of the loop's the job reaches."""
    found = {}
    for name in given.runs:
        seconds = runs[f"{name}-x{TIMES}"]["wall_seconds"] - runs[f"{name}-x1"]["wall_seconds"]
        found[f"{name} samples/s"] = (TIMES - 1) * given.samples / seconds
    for loop in LOOPS:
        for name in given.runs:
            if name not in LOOPS and loop in given.runs:
                found[f"{name} / {loop}"] = found[f"{name} samples/s"] / found[f"{loop} samples/s"]
    return {name: round(value, 4) for name, value in found.items()}


def report(rounds: list[dict[str, Any]], output: Path) -> None:
    """Prints medians and ranges over the rounds."""
    for name in rounds[0]["ratios"]:
        values = [each["ratios"][name] for each in rounds]
        spread = f"({min(values):.2f}-{max(values):.2f})"
        verdict = ""
        if "/ loop" in name:
            reached = statistics.median(values) >= WANTED
            verdict = f">= {WANTED} " + ("reached" if reached else "NOT reached")
        print(f"{name:<24}{statistics.median(values):>10.2f} {spread:<20}{verdict}")
    print(f"\nwritten to {output}")


if __name__ == "__main__":
    main()
