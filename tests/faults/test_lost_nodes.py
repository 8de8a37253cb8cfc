"""kill -9 of a whole node in mid inference, from S3 to S3: the job goes on without it, and no row is touched."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.encoders import in_this_process
from support.ray_cluster import PROJECT, Family, Head, running_head, running_node
from support.tones import make_samples, write_tar

from bench.soak.workload import write_bundle
from pipeline import storage
from pipeline.config import load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

SHARDS, SAMPLES = 30, 12
# Samples large enough for a part to lie in the object store of the node that decoded it.
MODALITIES = {
    "image": {"fields": ["png"], "size": 64},
    "audio": {"fields": ["wav"], "sample_rate_hz": 8000, "max_seconds": 0.3, "num_mels": 20},
}
MODEL = "ray::_Predictor"  # what an actor that holds the model is called


@pytest.fixture(scope="module")
def head(s3_server: str) -> Iterator[Head]:
    """A head whose processes, and those of its nodes, know the S3 server; it asks twice a second whether nodes live."""
    with running_head(RAY_health_check_period_ms="500") as head:
        yield head


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_bundle(folder / "model", MODALITIES)
    for index in range(SHARDS):
        write_tar(folder / "in" / f"s-{index:02d}.tar", make_samples(SAMPLES, index))
    return folder


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "commits",
    [3, pytest.param(0, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.slow)],
    ids="after {} commits".format,
)
def test_a_job_goes_on_without_a_node(
    head: Head, inputs: Path, bucket: str, tmp_path: Path, commits: int
) -> None:
    config = tmp_path / "job.yaml"
    settings = {
        "run": f"{bucket}/run",
        "modalities": MODALITIES,
        "infer": {
            "input": f"{bucket}/in/*.tar",
            "output": f"{bucket}/out",
            "model": str(inputs / "model"),
        },
        "cluster": {"address": head.address},
    }
    config.write_text(json.dumps(settings))
    for file in (inputs / "in").iterdir():
        storage.write_bytes(f"{bucket}/in/{file.name}", file.read_bytes())
    with running_node(head) as node:
        job = subprocess.Popen(
            [sys.executable, "-m", "jobs.infer", str(config), "--json"],
            env=head.client(),
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "log").open("w"),
            text=True,
        )
        try:
            wait_until_it_works(node, job, f"{bucket}/out", commits)
            node.kill()
            killed = time.monotonic()
            output, _ = job.communicate(timeout=400)
        finally:
            job.kill()
    said = (tmp_path / "log").read_text()
    sys.stdout.write(f"ended {time.monotonic() - killed:.1f} s after the kill\n{said}")
    assert job.returncode == 0, said
    assert "constructor arguments" not in said, "Ray's warning of actors that it would restart"
    summary = json.loads(output)
    assert summary["samples_written"] == SHARDS * SAMPLES
    assert summary["parts_done"] == SHARDS
    assert summary["metrics"].get("parts_redone", 0) == said.count(" part_lost ")
    expected = in_this_process(load(config), f"{inputs}/in/*.tar")
    rows = read_rows(f"{bucket}/out")
    assert sorted((row["shard"], row["key"]) for row in rows) == sorted(expected)
    for row in rows:
        assert row["embedding"] == expected[row["shard"], row["key"]]["embedding"]


def wait_until_it_works(
    node: Family, job: subprocess.Popen[str], output: str, commits: int
) -> None:
    """Waits for so many commits, and until the node has a model's actor."""
    end = time.monotonic() + 200
    while True:
        records = storage.list_files(f"{output}/_commit")
        if len(records) >= commits and any(line.startswith(MODEL) for line in node.alive()):
            return
        assert job.poll() is None, "it ended before there was a node to kill"
        assert time.monotonic() < end
        time.sleep(0.05)


def read_rows(output: str) -> list[dict]:
    manifest = json.loads(storage.read_bytes(f"{output}/_manifest.json"))
    rows: list[dict] = []
    for file in manifest["files"]:
        data = storage.read_bytes(f"{output}/{file['name']}")
        rows += pq.read_table(pa.BufferReader(data)).to_pylist()
    return rows
