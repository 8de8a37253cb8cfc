"""Decode kernels against their references and their floors, in turn (A B C A B C ...), on the samples of the workload.

    python -m bench.kernels [--rounds 7]

CPU milliseconds of this process, one thread. The reference is what one would write first with well-known libraries; the
floor is the part of the work that no kernel here can avoid. Prints medians and the ratios of each round, says which
kernel is closest to its floor and what the largest gain left would be, and writes all to bench/results/kernels.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.limit import ONE_THREAD

if TYPE_CHECKING:
    from bench.kernel_pairs import Kernel, Work

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "numpy",
    "scipy",
    "simplejpeg",
    "cykooz-resizer",
    "pillow",
    "soundfile",
    "soxr",
    "tokenizers",
    "torch",
    "librosa",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds measured of each kernel")
    rounds = parser.parse_args().rounds
    from bench.kernel_pairs import make_kernels

    with tempfile.TemporaryDirectory() as folder:
        kernels = make_kernels(Path(folder))
        rows = {name: measure(kernel, rounds) for name, kernel in kernels.items()}
    print(
        f"{'kernel':<28}{'ours ms':>9}{'reference':>11}{'speed-up':>10}"
        f"{'floor':>9}{'floor/ours':>12}  floor is"
    )
    for name, row in rows.items():
        print(
            f"{name:<28}{row['ours_ms']:>9.4f}{row['reference_ms']:>11.4f}{row['ratio']:>10.2f}"
            f"{row['floor_ms']:>9.4f}{row['floor_share']:>12.2f}  {kernels[name].floor_name}"
        )
    closest = max(kernels, key=lambda name: rows[name]["floor_share"])
    needed = [name for name, kernel in kernels.items() if kernel.of_sample]
    left = max(needed, key=lambda name: rows[name]["ours_ms"] - rows[name]["floor_ms"])
    spare = rows[left]["ours_ms"] - rows[left]["floor_ms"]
    print(f"closest to its floor: {closest}")
    print(f"largest gain left, {spare:.2f} ms a sample: {left}: {kernels[left].gain}")
    path = RESULTS / "kernels.json"
    found = {**environment(), "rounds": rounds, "kernels": rows}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")


def measure(kernel: Kernel, rounds: int) -> dict[str, float]:
    """Times the three in turn, after one round that does not count."""
    times: list[tuple[float, float, float]] = []
    for number in range(rounds + 1):
        one = (seconds(kernel.ours), seconds(kernel.reference), seconds(kernel.floor))
        if number:
            times.append(one)
    ratios = [reference / ours for ours, reference, _ in times]
    unit = 1000 / kernel.units
    return {
        "ours_ms": unit * statistics.median(ours for ours, _, _ in times),
        "reference_ms": unit * statistics.median(reference for _, reference, _ in times),
        "floor_ms": unit * statistics.median(floor for _, _, floor in times),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "floor_share": statistics.median(floor / ours for ours, _, floor in times),
    }


def seconds(work: Work, at_least: float = 0.1) -> float:
    """CPU seconds a call takes, over as many calls as fill ``at_least`` seconds."""
    calls, began = 0, time.process_time()
    while (elapsed := time.process_time() - began) < at_least:
        work()
        calls += 1
    return elapsed / calls


def environment(packages: Sequence[str] = PACKAGES) -> dict[str, object]:
    """Machine, versions of packages, and commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    if (
        not ONE_THREAD.items() <= os.environ.items()
    ):  # numpy and torch read these when they are imported
        os.environ.update(ONE_THREAD)
        os.execv(sys.executable, [sys.executable, "-m", "bench.kernels", *sys.argv[1:]])
    main()
