"""kill -9 of batch inference at random points, over and over, and a rerun of each; resumable.

    python -m bench.soak [--trials 110] [--seed 1]

Every trial runs ``python -m jobs.infer`` on a copy of an output whose input has changed since, kills the driver, a
decode worker, a model's actor, the raylet, the whole tree, or (every eleventh) a second node with all that runs there,
at a point of time that the seed says, runs the job again, and compares every row with those of a job left alone.
Meanwhile a reader opens all that is visible.

Each trial is a line of results/soak.jsonl as soon as it is done, after a line that says what was measured: the commit,
and what the code has beside it. A soak of the same code goes on behind its last line; another one starts anew, and the
results of other code are named and not counted. Linux only. Exit code 1: a trial went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.local_cluster import Family, Head, running_head, running_node
from bench.soak.kills import KINDS, NODE, InferenceJob, Point
from bench.soak.readers import Poller, read_output
from bench.soak.results import PROJECT, Measured, Results, passed
from bench.soak.workload import Workload, make_workload

RESULTS = Path(__file__).parents[1] / "results" / "soak.jsonl"
SHARDS, SAMPLES = 48, 12
TRIES = 8  # points drawn for a trial, until there is one before the job's end
GONE_SECONDS = 30.0  # that Ray's workers may outlive what was killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=110, help="in all, those of before included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS, help="trials of one kind alone")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and end what runs
    results = Results(options.results, Measured.of(PROJECT, options.seed))
    done = {trial["trial"] for trial in results.trials}
    todo = [
        number
        for number in range(options.trials)
        if number not in done and options.only in (None, kind_of(number))
    ]
    if todo:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            workload = make_workload(Path(folder), SHARDS, SAMPLES)
            for number in todo:
                found = run_trial(workload, Path(folder) / "trial", number, options.seed)
                results.add(found)
                print(_line(found), flush=True)
    print("\n".join(results.verdict()))
    return not all(map(passed, results.trials))


def kind_of(number: int) -> str:
    """What a trial kills: each of the kinds twice, then a node."""
    others = [kind for kind in KINDS if kind != NODE]
    return [*others, *others, NODE][number % (2 * len(others) + 1)]


def run_trial(workload: Workload, folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Kills one job, runs it again, and tells how it went.

    Args:
        workload: What the job works on.
        folder: Where it does; emptied before and after.
        number: Of the trial, which says what is killed.
        seed: Of the points of time.
    """
    kind = kind_of(number)
    snapshots = frozenset({workload.old.digest(), workload.new.digest()})
    for attempt in range(TRIES):
        random = np.random.default_rng((seed, number, attempt))
        point = Point.draw(kind, random, workload.num_parts)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(workload.before, folder / "out")
        began = time.monotonic()
        with Poller(folder / "out", snapshots) as poller, _cluster(kind) as cluster:
            killed = InferenceJob(workload.config, folder / "out", folder / "killed.log", *cluster)
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


@contextlib.contextmanager
def _cluster(kind: str) -> Iterator[tuple[Head, Family] | tuple[()]]:
    """A head and the node that is to be killed; nothing for other kinds, whose jobs start a Ray of their own."""
    if kind != NODE:
        yield ()
        return
    with running_head() as head, running_node(head) as node:
        yield head, node


def _line(found: dict[str, Any]) -> str:
    verdict = "right" if passed(found) else f"WRONG: {found}"
    return (
        f"{found['trial']:>4} {found['kind']:<14} {found['commits_when_killed']:>3} commits, then exit code "
        f"{found['killed_exit_code']:>3}; {found['seconds']:>5.1f} s; {verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())
