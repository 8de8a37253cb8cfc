"""Ctrl-C while a job works: exit code 130, nothing half-written, no process left, and a rerun completes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.ray_cluster import PROJECT, Family
from support.tones import make_samples, write_tar

from bench.soak.workload import MODALITIES, write_bundle


def start(family: Family, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env=family.environment(),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)


def epochs(log: Path) -> list[str]:
    return log.read_text().splitlines()


@pytest.mark.ray
def test_training_loses_a_worker_is_interrupted_and_resumed(
    tone_config: Path, tmp_path: Path, family: Family
) -> None:
    """With checkpoints within epochs; a sample that an epoch has twice, or not at all, would end the job."""
    home = tmp_path / "run"
    every = ("train.checkpoint_every.steps=2", "train.batch_size=8")
    words = ("jobs.train", str(tone_config), "cluster.executor=ray", *every)
    process = start(family, *words, "cluster.workers=2", "train.epochs=500")
    wait_for(home / "metrics.jsonl", process)
    [worker, *_] = [number for number, line in family.processes() if "RayTrainWorker" in line]
    os.kill(worker, signal.SIGKILL)
    before = epochs(home / "metrics.jsonl")
    end = time.monotonic() + 240
    # One epoch may have ended between the kill and the look; what comes after was trained by new workers.
    while len(epochs(home / "metrics.jsonl")) < len(before) + 2 or not (
        {number for number, line in family.processes() if "RayTrainWorker" in line} - {worker}
    ):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < end, "training does not go on"
        time.sleep(0.05)
    # Each row has the time that its epoch took: one that was trained again would have another.
    assert epochs(home / "metrics.jsonl")[: len(before)] == before
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output, output
    assert "train.resume=true goes on" in output
    assert family.wait_gone(20) == []
    assert not (home / "model" / "bundle.json").exists(), "a bundle is there when it is whole"
    done = len(epochs(home / "metrics.jsonl"))
    again = start(family, *words, f"train.epochs={done + 1}", "train.resume=true")
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    assert (home / "model" / "bundle.json").exists()
    rows = [json.loads(line) for line in epochs(home / "metrics.jsonl")]
    assert {row["rows_train"] for row in rows} == {120}


def test_training_without_ray_is_interrupted_and_resumed(
    tone_config: Path, tmp_path: Path, family: Family
) -> None:
    home = tmp_path / "run"
    words = ("jobs.train", str(tone_config), "cluster.executor=here")
    process = start(family, *words, "train.epochs=500")
    wait_for(home / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output, output
    assert "train.resume=true goes on" in output
    assert family.wait_gone(20) == []
    done = len(epochs(home / "metrics.jsonl"))
    again = start(family, *words, f"train.epochs={done + 1}", "train.resume=true")
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    assert "leaked" not in output, "what its end was spared is nobody's concern"
    assert (home / "model" / "bundle.json").exists()


def wait_for_commits(output: Path, number: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 240
    while len(list((output / "_commit").glob("[0-9a-f]*.json"))) < number:
        assert time.monotonic() < end
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        time.sleep(0.01)


def assert_whole(output: Path) -> None:
    """Whatever is visible is whole."""
    for place in ("*.parquet", "_parts/*.parquet", "_quarantine/*.parquet"):
        for file in output.glob(place):
            pq.read_metadata(file)


@pytest.mark.parametrize("executor", ["here", "ray"])
def test_a_batch_job_is_killed_interrupted_and_completed(
    tmp_path: Path, family: Family, executor: str
) -> None:
    """kill -9 of the driver, then Ctrl-C in a rerun, each in mid inference; another does the rest, and no row twice."""
    write_bundle(tmp_path / "model")
    for index in range(24):
        write_tar(tmp_path / "in" / f"m-{index:03d}.tar", make_samples(10, seed=100 + index))
    config, output = tmp_path / "job.yaml", tmp_path / "out"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": MODALITIES,
        "infer": {
            "input": f"{tmp_path}/in/*.tar",
            "output": str(output),
            "model": str(tmp_path / "model"),
        },
        "cluster": {"num_cpus": 2, "executor": executor},
    }
    config.write_text(json.dumps(settings))
    killed = start(family, "jobs.infer", str(config))
    wait_for_commits(output, 2, killed)
    killed.kill()
    killed.wait()
    assert_whole(output)

    its_own = Family()
    interrupted = start(its_own, "jobs.infer", str(config))
    try:
        done = len(list((output / "_commit").glob("[0-9a-f]*.json")))
        wait_for_commits(output, done + 3, interrupted)
        interrupted.send_signal(signal.SIGINT)
        said, _ = interrupted.communicate(timeout=60)
        assert interrupted.returncode == 130, said
        assert "Traceback" not in said, said
        assert its_own.wait_gone(20) == [], "nothing is left running"
    finally:
        its_own.kill()
    assert_whole(output)
    assert not list(output.glob("part-*.parquet")), "nothing is published before all is done"

    again = start(family, "jobs.infer", str(config), "--json")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "constructor arguments" not in said, "Ray's warning of actors that it would restart"
    summary = json.loads(said[said.index("{") :])
    assert summary["parts_skipped"] >= 5
    assert summary["parts_done"] + summary["parts_skipped"] == 24
    tables = [pq.read_table(file, columns=["shard", "key"]) for file in output.glob("*.parquet")]
    rows = [tuple(row.values()) for table in tables for row in table.to_pylist()]
    assert len(rows) == len(set(rows)) == 24 * 10
    assert not (output / "_staging").exists()
    assert family.wait_gone(120) == [], (
        "Ray's agents notice the end of a killed raylet within a minute or so"
    )
