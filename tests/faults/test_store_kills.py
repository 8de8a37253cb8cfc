"""A job whose output lies in an object store: two at once, and one that is killed and run again."""

import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from bench.soak.kills import MARK, PROJECT, InferenceJob
from pipeline import storage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

SHARDS, SAMPLES = 12, 20
RECORD = re.compile(r"[0-9a-f]{24}\.json")
# A lease of five seconds instead of twenty, so that a rerun waits no longer for that of a dead job.
PROGRAM = """
import runpy, sys
from pipeline.storage.locking import locks
locks.LEASE_SECONDS = 5.0
runpy.run_module("jobs.preprocess", run_name="__main__", alter_sys=True)
"""


@dataclass
class StoreJob(InferenceJob):
    """A ``python -m jobs.preprocess`` that writes into a store."""

    url: str = ""
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self.config), "--json"],
                env={**plain, MARK: self.mark, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)},
                cwd=PROJECT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def committed(url: str) -> set[str]:
    names = (info.url.rpartition("/")[2] for info in storage.list_files(f"{url}/_commit"))
    return {name for name in names if RECORD.fullmatch(name)}


def until(what: str, seconds: float, holds: object) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_one_of_two_works_and_after_a_kill_a_rerun_completes_it_once(
    bucket: str, tmp_path: Path
) -> None:
    expected = []
    for number in range(SHARDS):
        samples = make_samples(SAMPLES, number)
        write_tar(tmp_path / "in" / f"s-{number:02d}.tar", samples)
        expected += [(f"s-{number:02d}.tar", key) for key, each in samples.items() if "png" in each]
    url = f"{bucket}/decoded"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": {"image": {"fields": ["png"], "size": 16}},
        "preprocess": {"input": f"{tmp_path}/in/*.tar", "output": url},
        "cluster": {"num_cpus": 1, "executor": "here"},
    }
    config = tmp_path / "job.yaml"
    config.write_text(json.dumps(settings))

    def start(number: int) -> StoreJob:
        return StoreJob(config, tmp_path, tmp_path / f"{number}.log", url=url)

    jobs = [start(0), start(1)]
    try:
        until("one ends", 120, lambda: any(job.process.poll() is not None for job in jobs))
        [loser] = [job for job in jobs if job.process.poll() is not None]
        [winner] = [job for job in jobs if job is not loser]
        assert loser.wait() == 75, loser.said()
        assert "another job works on this folder" in loser.said()

        until("a part is committed", 200, lambda: committed(url))
        winner.end()  # kill -9 of all that belongs to it
        done = committed(url)
        assert winner.wait() == -9, winner.said()
        assert 0 < len(done) < SHARDS, "it was killed in the middle"

        jobs.append(start(2))
        assert jobs[-1].wait() == 0, jobs[-1].said()
    finally:
        for job in jobs:
            job.end()
    summary = json.loads(storage.read_bytes(f"{url}/summary.json"))
    assert summary["parts_skipped"] >= len(done), "what was committed is not done again"
    assert summary["parts_skipped"] + summary["parts_done"] == SHARDS
    manifest = json.loads(storage.read_bytes(f"{url}/_manifest.json"))
    rows = []
    for entry in manifest["files"]:
        file = io.BytesIO(storage.read_bytes(f"{url}/{entry['name']}"))
        rows += pq.read_table(file, columns=["shard", "key"]).to_pylist()
    assert sorted((row["shard"], row["key"]) for row in rows) == sorted(expected)
