"""A training that is killed within its epochs, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import _job, train
from pipeline.training.state import last_checkpoint

SETTINGS = ("train.epochs=2", "train.batch_size=8", "train.checkpoint_every.steps=2")


def start(config: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jobs.train", str(config), *SETTINGS, *words]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


@pytest.mark.timeout(300)
def test_kills_within_epochs_change_nothing(tone_config: Path, tmp_path: Path) -> None:
    """Killed twice, once before the first epoch has ended; the model is the same to the last byte."""
    killed = tmp_path / "killed"
    words = (f"run={killed}", "train.resume=true")
    places = []
    for _ in range(2):
        before = (killed / "checkpoints" / "last.pt").stat().st_mtime_ns if places else 0
        job = start(tone_config, *words)
        try:
            last = killed / "checkpoints" / "last.pt"
            while not last.exists() or last.stat().st_mtime_ns == before:
                assert job.poll() is None, "it has ended before it was killed"
                time.sleep(0.002)
        finally:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        checkpoint = last_checkpoint(str(killed))
        assert checkpoint is not None
        places.append((len(checkpoint["history"]), checkpoint["position"]["rows"]))
    assert places[0][0] == 0, "within the first epoch"
    assert 0 < places[0][1] < 120
    assert places[1] > places[0]

    whole = tmp_path / "whole"
    assert _job.main(train.JOB, [str(tone_config), *SETTINGS, *words]) == 0
    assert _job.main(train.JOB, [str(tone_config), *SETTINGS, f"run={whole}"]) == 0
    weights = [(run / "model" / "weights.safetensors").read_bytes() for run in (killed, whole)]
    assert weights[0] == weights[1]
    histories = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (killed, whole)
    ]
    for ours, theirs in zip(*histories, strict=True):
        assert ours["rows_train"] == theirs["rows_train"] == 120
        assert ours["train_loss"] == theirs["train_loss"]
        assert ours["val_loss"] == theirs["val_loss"]
