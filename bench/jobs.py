"""Whole jobs over small data, from the start of their process to its end, on each executor in turn.

    python -m bench.jobs RUN [--rounds 3] [--only NAME ...] [--output FILE]

RUN is a run of the demo (`python -m jobs.demo` makes runs/demo): its shards and its bundle are used, its outputs not
touched. Every job is a process of its own; a seed shuffles their order, and each round begins elsewhere in it. Prints
medians with their range, and writes all single values with machine, versions, load and commit to
bench/results/jobs.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from bench.ingest import environment
from bench.measure import measure

RESULTS = Path(__file__).parent / "results" / "jobs.json"
CONFIG = Path("jobs/configs/demo.yaml")
EXECUTORS = ("here", "ray")
ROUNDS = 3
DAYS = ("2026-11-01", "2026-11-02")


@dataclass(frozen=True)
class Case:
    """A job that is timed.

    Attributes:
        name: Shown.
        words: What follows ``python -m``, from the folder that it writes.
        before: The same, of a job that must have run; it is not timed.
    """

    name: str
    words: Callable[[Path], list[str]]
    before: Callable[[Path], list[str]] | None = None


def main() -> None:
    given = options()
    cases = [case for executor in EXECUTORS for case in cases_of(given.run, executor)]
    cases.append(Case("lint", lambda folder: ["jobs.lint", *_settings(given.run, "here", folder)]))
    cases = [case for case in cases if any(fnmatch(case.name, name) for name in given.only)]
    head = {**environment(), "rounds": given.rounds, "seed": given.seed, "run": str(given.run)}
    shuffled = [cases[at] for at in np.random.default_rng(given.seed).permutation(len(cases))]
    rounds: list[dict[str, Any]] = []
    for number in range(given.rounds):
        first = number * len(shuffled) // given.rounds
        rounds.append({})
        for case in shuffled[first:] + shuffled[:first]:
            rounds[-1][case.name] = run = time_case(case)
            print(f"round {number + 1}  {case.name:<34}{run['wall_seconds']:8.2f} s", flush=True)
            given.output.write_text(json.dumps({**head, "runs": rounds}, indent=1) + "\n")
    print()
    for case in cases:
        print(line_of(case.name, [run[case.name] for run in rounds]))
    print(f"\nwritten to {given.output}")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run of the demo")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", default=["*"], help="cases; * stands for anything")
    parser.add_argument("--seed", type=int, default=1, help="of the order of a round")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    if not (given.run / "model" / "bundle.json").exists():
        raise SystemExit(f"{given.run} has no model: run python -m jobs.demo first")
    return given


def cases_of(run: Path, executor: str) -> list[Case]:
    """What is timed on one executor."""

    def job(name: str, *words: str) -> Callable[[Path], list[str]]:
        return lambda folder: [f"jobs.{name}", *_settings(run, executor, folder), *words]

    infer, preprocess, evaluate = job("infer"), job("preprocess"), job("evaluate")
    night, next_night = (job("nightly", "--date", day) for day in DAYS)
    return [
        Case(f"infer, {executor}", infer),
        Case(f"infer, nothing to do, {executor}", infer, infer),
        Case(f"preprocess, {executor}", preprocess),
        Case(f"evaluate, {executor}", evaluate),
        Case(f"a night with nothing new, {executor}", next_night, night),
    ]


def _settings(run: Path, executor: str, folder: Path) -> list[str]:
    """The demo's configuration with this data and this bundle, writing to another folder."""
    data = run.resolve() / "data"
    settings = {
        "run": str(folder),
        "infer.model": str(run.resolve() / "model"),
        "preprocess.input": "test",
        "cluster.executor": executor,
        **{f"input.{split}": f"{data}/demo-{split}-*.tar" for split in ("train", "val", "test")},
    }
    return [str(CONFIG), *(f"{name}={value}" for name, value in settings.items())]


def time_case(case: Case) -> dict[str, Any]:
    """Runs a job in a new folder.

    Raises:
        SystemExit: It failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        steps = [case.before, case.words] if case.before is not None else [case.words]
        for words in steps:
            assert words is not None
            command = [sys.executable, "-m", *words(Path(folder)), "--json"]
            load = os.getloadavg()[0]
            measured = measure(command)
            if measured.exit_code != 0:
                raise SystemExit(f"{case.name} failed: {measured.error}")
    return {
        "wall_seconds": round(measured.wall_seconds, 3),
        "cpu_seconds": round(measured.cpu_seconds, 2),
        "peak_gb": round(measured.peak_gb, 3),
        "load": round(load, 1),
        "samples": measured.answer.get("samples_read"),
    }


def line_of(name: str, runs: Sequence[dict[str, Any]]) -> str:
    """Median and range of wall seconds; median CPU seconds and memory."""
    wall = sorted(run["wall_seconds"] for run in runs)
    cpu, peak = (statistics.median(run[key] for run in runs) for key in ("cpu_seconds", "peak_gb"))
    spread = f"{wall[0]:.2f}-{wall[-1]:.2f}"
    middle = statistics.median(wall)
    return f"{name:<38}{middle:8.2f} s  ({spread:<13}) {cpu:7.2f} CPU-s {peak:6.2f} GB"


if __name__ == "__main__":
    main()
