"""Training and prediction on one device against bare loops over data that lie there already; needs no Ray.

    python -m bench.gpu [--rounds 5] [--quick] [--device cpu] [--only steps]

Training: the loop of :mod:`pipeline.training` over batches that come from the host, against the same steps (the same
network, optimizer, clipping and moving average) over one batch that stays on the device; in bfloat16, channels last,
compiled and not. Prediction: a bundle's and an encoder's predictor over a decoded table, against a plain loop of the
same network over tensors on the device. Copies: the share of the time of host-to-device copies in which a kernel runs,
of a trace. Steps: the training loop with each kind of encoder that a modality may have, of its default size, over one
batch. Both sides of a ratio run in turn, in one process. Without a GPU it runs on the CPU, small, in float32 and
compiled only with --compile, in seconds that this process computed, and the result says so; there are no copies then.
Writes bench/results/gpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.gpu.encoders import steps
from bench.gpu.figures import Size, overlap
from bench.gpu.predicting import PREDICTORS, predicting, traced
from bench.gpu.training import training
from bench.ingest import environment

RESULTS = Path(__file__).parents[1] / "results"
WANTED = 0.95  # of the bare loop's rate
WANTED_OF_STEPS = 0.97
PARTS = ("training", *PREDICTORS, "steps", "copies")
SMALL = "shufflenet_v2_x0_5"
ON_GPU = Size(
    image=224,
    depth=34,
    channels=64,
    batch=256,
    steps=40,
    rows=8192,
    encoder="resnet50",
    encoded=4096,
    precision="bfloat16",
)
ON_CPU = Size(
    image=32,
    depth=10,
    channels=16,
    batch=32,
    steps=20,
    rows=512,
    encoder=SMALL,
    encoded=64,
    precision="float32",
)
QUICK = Size(
    image=16,
    depth=10,
    channels=4,
    batch=8,
    steps=2,
    rows=16,
    encoder=SMALL,
    encoded=8,
    precision="bfloat16",
)


def main() -> None:
    options = _options()
    device = torch.device(options.device)
    size = QUICK if options.quick else ON_GPU if device.type == "cuda" else ON_CPU
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    found: dict[str, Any] = {
        **environment(),
        "device": device.type,
        "device_name": torch.cuda.get_device_name() if device.type == "cuda" else "no GPU",
        "seconds": "wall" if device.type == "cuda" else "of this process on the CPU",
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "size": asdict(size),
        "wanted": WANTED,
        "wanted_of_steps": WANTED_OF_STEPS,
        "cases": {},
        "copies": None,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, row in _cases(options, size, device, Path(folder)):
            found["cases"][name] = row
            _write(options.output, found)
        if device.type == "cuda" and "copies" in options.only:
            found["copies"] = overlap(*traced(size, device, Path(folder)))
            print(f"copies: {found['copies']}")
    found["load_at_end"] = os.getloadavg()[0]
    _write(options.output, found)
    print(f"device: {device.type}; written to {options.output}", file=sys.stderr)


def _write(path: Path, found: dict[str, Any]) -> None:
    """Writes what there is so far: a machine may be taken away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def _cases(
    options: argparse.Namespace, size: Size, device: torch.device, folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and row of each ratio."""
    # A CPU's compiler takes minutes, and says nothing of a GPU.
    for compiled in (False, True) if device.type == "cuda" or options.compile else (False,):
        ending = "-compiled" if compiled else ""
        if "training" in options.only:
            pairs = training(size, device, options.rounds, compiled=compiled)
            yield f"training{ending}", _told(f"training{ending}", pairs, size.steps)
        for kind in PREDICTORS:
            if kind in options.only:
                pairs = predicting(kind, size, device, options.rounds, folder, compiled=compiled)
                yield f"{kind}{ending}", _told(f"{kind}{ending}", pairs, size.count(kind))
    if "steps" in options.only:
        for kind, count, pairs in steps(device, size.dtype, options.rounds, quick=options.quick):
            yield f"step {kind}", _told(f"step {kind}", pairs, count, WANTED_OF_STEPS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each side, in turn")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="a GPU where there is one")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--compile", action="store_true", help="on a CPU too")
    parser.add_argument("--quick", action="store_true", help="tiny, once: does all of it run?")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--output", type=Path, help="in runs/ with --quick")
    options = parser.parse_args()
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if options.quick:
        options.rounds = 1
    folder = Path("runs/bench") if options.quick else RESULTS
    options.output = options.output or folder / "gpu.json"
    return options


def _told(
    name: str, pairs: list[tuple[float, float]], count: int, wanted: float = WANTED
) -> dict[str, Any]:
    """Rates and their ratios, of (seconds of ours, seconds of the bare loop) of each round."""
    ratios = [bare / ours for ours, bare in pairs]
    row = {
        "ours_per_second": round(statistics.median(count / ours for ours, _ in pairs), 3),
        "bare_per_second": round(statistics.median(count / bare for _, bare in pairs), 3),
        "ratio": round(statistics.median(ratios), 4),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "reached": statistics.median(ratios) >= wanted,
    }
    unit = "steps/s" if name.startswith(("training", "step")) else "samples/s"
    print(
        f"{name:<24}{row['ours_per_second']:>10.1f} {unit:<10} bare {row['bare_per_second']:>10.1f}"
        f"  ratio {row['ratio']:.3f} ({min(ratios):.3f}-{max(ratios):.3f})",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
