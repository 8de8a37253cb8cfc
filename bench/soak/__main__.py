"""kill -9 of batch inference at random points, over and over, and a rerun of each; resumable.

    python -m bench.soak [--trials 100] [--seed 1]

Every trial runs ``python -m jobs.infer`` on a copy of an output whose input has changed since, kills the driver, a
decode worker, a model's actor, the raylet or the whole tree at a point of time that the seed says, runs the job again,
and compares every row with those of a job that nobody killed. Meanwhile a reader opens all that is visible.

Each trial is a line of results/soak.jsonl as soon as it is done, after a line that says machine, versions and commit;
a soak that is begun again goes on behind the last line. Linux only. Exit code 1: a trial went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray

from bench.soak.kills import KINDS, SURVIVED, InferenceJob, Point
from bench.soak.readers import Poller, read_output
from bench.soak.workload import Workload, make_workload

RESULTS = Path(__file__).parents[1] / "results" / "soak.jsonl"
SHARDS, SAMPLES = 48, 12
TRIES = 8  # points drawn for a trial, until there is one before the job's end
GONE_SECONDS = 30.0  # that Ray's workers may outlive what was killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="in all, those of before included")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and end what runs
    lines = [json.loads(line) for line in _text().splitlines()]
    done = [line for line in lines if "trial" in line]
    facts = {**environment(), "seed": options.seed}
    if len(done) < options.trials:
        if facts != next((line for line in reversed(lines) if "trial" not in line), None):
            _append(facts)
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            workload = make_workload(Path(folder), SHARDS, SAMPLES)
            for number in range(len(done), options.trials):
                found = run_trial(workload, Path(folder) / "trial", number, options.seed)
                _append(found)
                done.append(found)
                print(_line(found), flush=True)
    bad = [line["trial"] for line in done if not passed(line)]
    print(f"{len(done)} kills, {len(bad)} went wrong{': ' if bad else ''}{str(bad) if bad else ''}")
    return bool(bad)


def run_trial(workload: Workload, folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Kills one job, runs it again, and tells how it went.

    Args:
        workload: What the job works on.
        folder: Where it does; emptied before and after.
        number: Of the trial, which says what is killed.
        seed: Of the points of time.
    """
    kind = KINDS[number % len(KINDS)]
    snapshots = frozenset({workload.old.digest(), workload.new.digest()})
    for attempt in range(TRIES):
        random = np.random.default_rng((seed, number, attempt))
        point = Point.draw(kind, random, workload.num_parts)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(workload.before, folder / "out")
        began = time.monotonic()
        with Poller(folder / "out", snapshots) as poller:
            killed = InferenceJob(workload.config, folder / "out", folder / "killed.log")
            again: InferenceJob | None = None
            try:
                victim = killed.strike(kind, point, random)
                struck, commits = time.monotonic(), killed.commits()
                code = killed.wait()
                ended = time.monotonic()
                if not victim:
                    continue
                again = InferenceJob(workload.config, folder / "out", folder / "again.log")
                found = {
                    "trial": number,
                    "kind": kind,
                    "attempt": attempt,
                    "victim": victim,
                    "commits_when_killed": commits,
                    "ended_after_seconds": round(ended - struck, 2),
                    "killed_exit_code": code,
                    "rerun_exit_code": again.wait(),
                }
                found["left"] = [*killed.wait_gone(GONE_SECONDS), *again.wait_gone(GONE_SECONDS)]
            finally:
                killed.end()
                if again is not None:
                    again.end()
        found |= workload.new.difference(read_output(folder / "out"))
        found |= {
            "looks": poller.looks,
            "files_opened": poller.files,
            "snapshots_read": len(poller.read),
            "problems": poller.problems,
            "seconds": round(time.monotonic() - began, 1),
            "load": os.getloadavg()[0],
        }
        if passed(found):
            shutil.rmtree(folder)
        else:
            shutil.move(folder, tempfile.mkdtemp(prefix=f"soak-failed-{number}-"))
        return found
    raise RuntimeError(f"{TRIES} jobs ended before trial {number} could kill a {kind}")


def passed(found: dict[str, Any]) -> bool:
    """Whether a trial went as it should."""
    wrong = ("lost", "doubled", "different", "foreign", "quarantine", "rerun_exit_code")
    survived = found["kind"] not in SURVIVED or found["killed_exit_code"] == 0
    return survived and not any(found[name] for name in (*wrong, "problems", "left"))


def environment() -> dict[str, Any]:
    """Machine, versions and commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "ray": ray.__version__,
        "commit": commit.stdout.strip(),
    }


def _line(found: dict[str, Any]) -> str:
    verdict = "right" if passed(found) else f"WRONG: {found}"
    return (
        f"{found['trial']:>4} {found['kind']:<14} {found['commits_when_killed']:>3} commits, then exit code "
        f"{found['killed_exit_code']:>3}; {found['seconds']:>5.1f} s; {verdict}"
    )


def _text() -> str:
    return RESULTS.read_text("utf-8") if RESULTS.exists() else ""


def _append(line: dict[str, Any]) -> None:
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
