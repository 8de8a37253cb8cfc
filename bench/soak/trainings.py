"""kill -9 of a training's worker, controller, node and driver, in a seeded order, over and over; resumable.

    python -m bench.soak.trainings [--trials 20] [--seed 1]

Each trial trains on two Ray nodes of this machine, one of which joins the other; what was killed is started again, the
driver by a rerun with ``train.resume=true``, until the training ends. Then every epoch must have had every sample once,
counted by the workers as they took them. Trials are lines of results/soak-trainings.jsonl, see :mod:`bench.soak`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.local_cluster import PROJECT, Family, Head, running_head, running_node
from bench.soak.results import Measured, Results, passed
from bench.soak.taken import Share, read_epochs, read_shares
from pipeline.runs import METRICS_LOG

PROCESSES = {"worker": "RayTrainWorker", "controller": "TrainController"}
NODE, DRIVER = "node", "driver"
KINDS = (*PROCESSES, NODE, DRIVER)
RESULTS = PROJECT / "bench" / "results" / "soak-trainings.jsonl"
SHARDS, SAMPLES = 3, 40
HEALTH = {"RAY_health_check_period_ms": "500"}  # nodes that are gone are noticed within seconds
VARIABLES = {"PYTHONPATH": str(PROJECT)}  # of all nodes: workers import bench.soak.taken


class CountedTraining:
    """``bench.soak.taken`` on a cluster.

    Args:
        head: Of the cluster.
        config: Configuration, whose run is a local folder.
        run: That folder.
        log: Takes what it prints.
        words: Of the configuration.
    """

    def __init__(
        self, head: Head, config: Path, run: Path, log: Path, words: Sequence[str]
    ) -> None:
        self.head, self.run, self.log = head, run, log
        self._before = {share.team for share in read_shares(run)}
        command = [sys.executable, "-m", "bench.soak.taken", str(config), *words]
        command += ["cluster.executor=ray", f"cluster.address={head.address}"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env=head.client(**VARIABLES),
                cwd=PROJECT,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def next_team(self, batches: int, size: int | None = None, seconds: float = 400) -> list[Share]:
        """Waits until workers that were not there before have taken some batches; what they took.

        Args:
            batches: That each of them has taken.
            size: How many there are to be; others are waited out.
            seconds: At most.
        """
        end = time.monotonic() + seconds
        while True:
            shares = [share for share in read_shares(self.run) if share.team not in self._before]
            last = [share for share in shares if share.team == shares[-1].team]
            if last and len(last) >= batches * last[0].size and size in (None, last[0].size):
                self._before = {share.team for share in shares} | self._before
                return last
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, f"no workers that train:\n{self.said()}"
            time.sleep(0.1)

    def kill(self, kind: str, families: Sequence[Family], which: int = 0) -> None:
        """kill -9 of one process of a kind."""
        name = PROCESSES[kind]
        processes = sorted(
            p for family in families for p, line in family.processes() if name in line
        )
        assert processes, f"there is no {kind}"
        os.kill(processes[which % len(processes)], signal.SIGKILL)

    def end(self) -> None:
        """kill -9 of the driver."""
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text("utf-8", errors="replace")[-6000:]


def storm(head: Head, config: Path, folder: Path, seed: int, kinds: Sequence[str] = KINDS) -> Path:
    """Trains on a head, and a node that joins it; kills one of each kind in a seeded order; trains to an end.

    Args:
        head: With 2 CPUs.
        config: Of a training whose number of epochs is left open.
        folder: Takes the run and what the job prints.
        seed: Of the order, and of how many batches lie between.
        kinds: Of what is killed.

    Returns:
        The run, whose training has ended as it should.
    """
    random = np.random.default_rng(seed)
    order = [str(kind) for kind in random.permutation(kinds)]
    run, words = folder / "run", ["cluster.workers=[1,3]", "cluster.resize_seconds=1"]
    words += [f"run={run}", "train.checkpoint_every.steps=3", "cluster.num_cpus=null"]

    def start(number: int, *more: str) -> CountedTraining:
        log = folder / f"{number}.log"
        return CountedTraining(head, config, run, log, [*words, "train.resume=true", *more])

    training = start(0, "train.epochs=100000")
    try:
        training.next_team(int(random.integers(1, 20)), size=2)
        with running_node(head, **VARIABLES) as node:
            training.next_team(int(random.integers(1, 20)), size=3)
            for number, kind in enumerate(order, 1):
                if kind == DRIVER:
                    training.end()
                    training = start(number, "train.epochs=100000")
                elif kind == NODE:
                    node.kill()
                else:
                    training.kill(kind, [head.family, node], int(random.integers(3)))
                training.next_team(int(random.integers(1, 20)))
        training.end()
        done = len((run / METRICS_LOG).read_bytes().splitlines())
        training = start(len(order) + 1, f"train.epochs={done + 1}", "cluster.workers=[1,2]")
        assert training.process.wait(400) == 0, training.said()
    finally:
        training.end()
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="in all, those of before included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results = Results(options.results, Measured.of(PROJECT, options.seed))
    done = {trial["trial"] for trial in results.trials}
    for number in range(options.trials):
        if number not in done:
            trial = run_trial(number, options.seed)
            results.add(trial)
            print("right" if passed(trial) else "WRONG", json.dumps(trial), flush=True)
    print("\n".join(results.verdict()))
    return not all(map(passed, results.trials))


def run_trial(number: int, seed: int) -> dict[str, Any]:
    """Trains through one of each kill, and tells how often the epochs have had which sample."""
    trial: dict[str, Any] = {"trial": number, "kind": "training", "different": 0, "quarantine": 0}
    trial |= {
        "lost": 0,
        "doubled": 0,
        "foreign": 0,
        "rerun_exit_code": 0,
        "problems": [],
        "left": [],
    }
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-training-") as name:
        folder = Path(name)
        keys, config = write_training(folder)
        try:
            with running_head(**HEALTH, **VARIABLES) as head:
                run = storm(head, config, folder, 1000 * seed + number)
            shares = read_shares(run)
            epochs = read_epochs(shares)
        except (AssertionError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            trial["problems"].append(str(error)[-2000:])
            return trial
    for epoch in epochs:
        trial["lost"] += len(keys - set(epoch))
        trial["foreign"] += len(set(epoch) - keys)
        trial["doubled"] += sum(count - 1 for count in epoch.values())
    teams = {share.team: share.size for share in shares}
    trial |= {"epochs": len(epochs), "teams": list(teams.values())}
    return {**trial, "seconds": round(time.monotonic() - began, 1), "load": os.getloadavg()[0]}


def write_training(folder: Path) -> tuple[set[str], Path]:
    """Shards of vectors of two classes, and the configuration of a small training; the samples' names, and its path."""
    random, keys = np.random.default_rng(0), set[str]()
    for shard in range(SHARDS):
        path = folder / f"s-{shard}.tar"
        with tarfile.open(path, "w") as tar:
            for index in range(SAMPLES):
                data = io.BytesIO()
                np.save(data, random.normal(index % 2, 1, 8).astype(np.float32))
                for extension, content in {
                    "npy": data.getvalue(),
                    "cls": b"ab"[index % 2 :][:1],
                }.items():
                    member = tarfile.TarInfo(f"k{index:03d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                keys.add(f"{path.name}/k{index:03d}")
    settings = {
        "input": {"train": f"{folder}/s-*.tar"},
        "modalities": {"vector": {"kind": "vector", "fields": ["npy"], "shape": [8]}},
        "objective": {
            "kind": "classify",
            "label": "cls",
            "width": 32,
            "fusion": {"kind": "concat"},
            "dropout": 0,  # which is the workers' own
            "modality_dropout": 0,
        },
        "train": {"batch_size": 8, "schedule": "constant", "warmup_fraction": 0},
    }
    config = folder / "job.yaml"
    config.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    return keys, config


if __name__ == "__main__":
    sys.exit(main())
