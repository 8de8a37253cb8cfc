"""Training and inference submitted to a real Ray head, unchanged."""

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
from support.ray_cluster import PROJECT, RAY, Head


def submit(head: Head, job: str, config: Path, *overrides: str) -> str:
    words = ["python", "-m", f"jobs.{job}", str(config), "cluster.address=auto"]
    words += ["cluster.executor=auto", *overrides]
    done = subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--address", head.url, "--", *words],
        env=head.client(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_train_and_infer_are_submitted_unchanged(
    ray_head: Head, tone_config: Path, tmp_path: Path
) -> None:
    home = tmp_path / "run"
    submit(ray_head, "train", tone_config, "train.epochs=2")
    assert len((home / "metrics.jsonl").read_text().splitlines()) == 2
    log = submit(ray_head, "infer", tone_config)
    assert "infer: done" in log
    found = json.loads((home / "embeddings" / "summary.json").read_text())
    assert (found["samples_written"], found["parts_done"]) == (48, 2)
    files = list((home / "embeddings").glob("part-*.parquet"))
    assert sum(pq.read_metadata(file).num_rows for file in files) == 48
