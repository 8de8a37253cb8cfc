"""Ingest against its limits and its peers, in turn, each in a process of its own, in another order every round.

    python -m bench.ingest [--rounds 3] [--only NAME ...] [--quick] [--list] [--data FOLDER]

Prints tables, one of them in Markdown, and a line for every wanted figure; writes all single values with machine,
versions and commit to bench/results/ingest.json, after every run so that an interrupted one loses nothing. See
bench/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import measure
from bench.peers.configurations import DAFT_FOLDER, WARM, Configuration, configurations
from bench.peers.figures import Results, goals, markdown, tables
from bench.peers.inputs import Inputs, s3_store

RESULTS = Path(__file__).parent / "results" / "ingest.json"
SAMPLES, QUICK_SAMPLES = 4000, 400
ROUNDS = 3  # at least, for a ratio to have a range
PACKAGES = "ray torch torchvision numpy pyarrow pillow simplejpeg librosa soundfile tokenizers webdataset moto"


def main() -> None:
    given = options()
    chosen = [each for each in configurations() if _wanted(each, given.only)]
    if given.list:
        print("\n".join(f"{each.name:<24}{each.group:<12}{each.about}" for each in chosen))
        return
    inputs = Inputs(given.data, given.samples)
    orders = [in_turn(chosen, number, given.rounds, given.seed) for number in range(given.rounds)]
    head = {
        **environment(),
        "samples": given.samples,
        "rounds": given.rounds,
        "seed": given.seed,
        "orders": [[each.name for each in order] for order in orders],
    }
    rounds: list[dict[str, Any]] = []
    failures: list[str] = []
    with _store_for(chosen, inputs) as variables:
        for number in range(given.rounds):
            rounds.append({})
            for each in orders[number]:
                if each.once and number:
                    continue
                run = measure_one(each, inputs, variables if each.s3 else {})
                if run["failed"]:
                    failures.append(f"{each.name}, round {number + 1}: {run['failed']}")
                else:
                    rounds[-1][each.name] = run
                _say(number, each, run)
                save(given.output, head, rounds, failures)
    report(Results(rounds), chosen, failures)
    changed = " with uncommitted changes" if head["uncommitted"] else ""
    about = f"{given.samples} samples, {head['machine']}, commit {head['commit']}{changed}"
    print("", *markdown(Results(rounds), chosen, about), sep="\n")
    if given.rounds < ROUNDS:
        print(
            f"\nfewer than {ROUNDS} rounds say nothing of how far ratios spread: not to be quoted"
        )
    if given.quick:
        print("\nso few samples show that everything runs, and start-up is all they measure")
    print(f"\nwritten to {given.output}")


def options() -> argparse.Namespace:
    """The command line, with the sizes that it means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="of every configuration; 3, or 1 with --quick")
    parser.add_argument("--seed", type=int, default=1, help="of the order of a round")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="configurations, with their warm twins; * stands for anything",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the samples, to see that all runs"
    )
    parser.add_argument("--list", action="store_true", help="name the configurations and end")
    parser.add_argument("--samples", type=int, help="of one set, a multiple of 32")
    parser.add_argument(
        "--data", type=Path, default=Path("runs/bench"), help="where the inputs lie"
    )
    parser.add_argument("--output", type=Path, help="the results; in the data folder with --quick")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else ROUNDS)
    given.samples = given.samples or (QUICK_SAMPLES if given.quick else SAMPLES)
    given.output = given.output or (given.data / RESULTS.name if given.quick else RESULTS)
    return given


def in_turn(
    chosen: Sequence[Configuration], number: int, rounds: int, seed: int
) -> list[Configuration]:
    """The order of one round: a seed shuffles them once, and each round begins elsewhere.

    So none is always measured after the same one, or always while the machine is still cool.
    """
    order = [chosen[index] for index in np.random.default_rng(seed).permutation(len(chosen))]
    first = number * len(order) // rounds
    return order[first:] + order[:first]


def measure_one(each: Configuration, inputs: Inputs, variables: dict[str, str]) -> dict[str, Any]:
    """Runs a configuration; a failure is a value like any other, so that the rest goes on.

    Returns:
        What was measured, with ``samples``, ``passes``, the ``load`` of the machine before it, and ``failed``: why, or
        an empty text.
    """
    expected = int(inputs.samples * each.share)
    load = os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp(prefix=f"{each.name}-", dir=inputs.root))
    try:
        command = each.command(inputs, folder)
        found = measure(command, variables={**each.variables, **variables})
    except (OSError, ValueError) as error:
        return {"failed": f"{type(error).__name__}: {error}", "wall_seconds": 0.0}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    run = {**asdict(found), "passes": each.passes, "load": round(load, 2)}
    run["answer"] = {name: value for name, value in found.answer.items() if name != "outputs"}
    handed_over = found.answer.get("samples", found.answer.get("samples_written", 0))
    run["samples"] = handed_over
    if found.exit_code is None:
        run["failed"] = "took too long"
    elif found.failed:
        run["failed"] = f"exit code {found.exit_code}: {found.error.strip()[-600:]}"
    else:
        missing = handed_over != expected
        run["failed"] = f"{handed_over} samples, not {expected}" if missing else ""
    return run


def report(results: Results, chosen: list[Configuration], failures: list[str]) -> None:
    """Prints the tables, the wanted figures and what failed."""
    print("\n".join(tables(results, chosen)))
    print("\nCPU-s: of 1,000 samples")
    print("bare, limit: share of the two bare processes, warm where there is a warm run\n")
    for goal in goals():
        found = goal.judge(results)
        if found["median"] is not None:
            verdict = "reached" if found["reached"] else "NOT reached"
            spread = f"({min(found['values']):.2f}-{max(found['values']):.2f})"
            print(
                f"{found['about']:<86}{found['median']:>6.2f} {spread:<13}{found['wanted']:<9}{verdict}"
            )
    for failure in failures:
        print(f"failed: {failure}")


def save(
    path: Path, head: dict[str, Any], rounds: list[dict[str, Any]], failures: list[str]
) -> None:
    """Writes everything found so far."""
    judged = [goal.judge(Results(rounds)) for goal in goals()]
    found = {**head, "goals": judged, "failures": failures, "runs": rounds}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.rename(path)


def environment() -> dict[str, Any]:
    """Machine, versions and commit."""
    cpu = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0 0")
    return {
        "machine": f"{cpu.partition(':')[2].strip() or platform.machine()}, {os.cpu_count()} CPUs, "
        f"{int(memory.split()[1]) / 1e6:.0f} GB",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "uncommitted": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def versions() -> dict[str, str]:
    """Of everything that is measured, where it is installed."""
    found = {}
    for name in PACKAGES.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    for folder in DAFT_FOLDER.glob("daft-*.dist-info"):
        found["daft"] = importlib.metadata.Distribution.at(folder).version
    return found


@contextlib.contextmanager
def _store_for(chosen: list[Configuration], inputs: Inputs) -> Iterator[dict[str, str]]:
    """The S3 server where some configuration needs it; without it, that one fails and the others go on."""
    if not any(each.s3 for each in chosen):
        yield {}
        return
    with contextlib.ExitStack() as stack:
        try:
            variables = stack.enter_context(s3_store(inputs.paths, inputs.root / "s3.log"))
        except (OSError, RuntimeError) as error:
            print(f"no S3 server: {error}", file=sys.stderr)
            variables = {}
        yield variables


def _wanted(each: Configuration, only: list[str] | None) -> bool:
    names = (each.name, each.name.removesuffix(WARM))
    return not only or any(fnmatch.fnmatchcase(name, pattern) for pattern in only for name in names)


def _say(number: int, each: Configuration, run: dict[str, Any]) -> None:
    told = run["failed"].splitlines()[-1:] or [
        f"{run['wall_seconds']:.1f} s, {run['samples'] / run['wall_seconds']:.0f}/s, "
        f"{run['cpu_seconds']:.1f} CPU-s, {run['peak_gb']:.2f} GB"
    ]
    print(f"round {number + 1} {each.name:<24}{told[0]}", file=sys.stderr, flush=True)


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text().splitlines()
    return []


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
