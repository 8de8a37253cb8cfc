"""Ctrl-C while a job works: exit code 130, nothing half-written, no process left, and a rerun completes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from ray_cluster import PROJECT, Family
from tones import make_samples, write_tar


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


def test_training_is_interrupted_and_resumed(
    tone_config: Path, tmp_path: Path, family: Family
) -> None:
    home = tmp_path / "run"
    words = ("jobs.train", str(tone_config))
    process = start(family, *words, "cluster.workers=2", "train.epochs=500")
    wait_for(home / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output, output
    assert family.wait_gone(20) == []
    assert not (home / "model" / "bundle.json").exists(), "a bundle is there when it is whole"
    done = len((home / "metrics.jsonl").read_text().splitlines())
    again = start(family, *words, f"train.epochs={done + 1}", "train.resume=true")
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    assert (home / "model" / "bundle.json").exists()


def test_a_batch_job_is_killed_and_completed(
    tone_config: Path, tmp_path: Path, family: Family
) -> None:
    """kill -9 of the driver after the first commit; the rerun does the rest, and no row twice."""
    import pyarrow.parquet as pq

    data = tmp_path / "many"
    for index in range(24):
        write_tar(data / f"m-{index:03d}.tar", make_samples(40, seed=100 + index))
    output = tmp_path / "run" / "decoded"
    words = ("jobs.preprocess", str(tone_config), f"preprocess.input={data}/m-*.tar")
    process = start(family, *words)
    end = time.monotonic() + 240
    while len(list((output / "_commit").glob("[0-9a-f]*.json"))) < 2:
        assert time.monotonic() < end
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        time.sleep(0.01)
    process.kill()
    process.wait()
    for place in ("*.parquet", "_parts/*.parquet", "_quarantine/*.parquet"):
        for file in output.glob(place):
            pq.read_metadata(file)  # whatever is visible is whole
    again = start(family, *words, "--json")
    text, _ = again.communicate(timeout=120)
    assert again.returncode == 0, text
    tables = [pq.read_table(file, columns=["shard", "key"]) for file in output.glob("*.parquet")]
    rows = [tuple(row.values()) for table in tables for row in table.to_pylist()]
    assert len(rows) == len(set(rows)) == 24 * 40
    assert family.wait_gone(120) == [], (
        "Ray's agents notice the end of a killed raylet within a minute or so"
    )
