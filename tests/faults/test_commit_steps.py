"""A job that is killed at any step of its commit protocol, twice in a row, is completed by a rerun."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.tones import make_samples, write_tar

PROGRAM = Path(__file__).parents[1] / "support" / "commit_steps.py"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two nights: in the second one shard is as it was, one has changed, one is gone, and one is new."""
    for night, seeds in (("first", {"a": 0, "b": 1, "c": 2}), ("second", {"a": 0, "b": 9, "d": 3})):
        folder = tmp_path / "shards" / night
        folder.mkdir(parents=True)
        for name, seed in seeds.items():
            samples = make_samples(2, seed=seed)
            if name == "b":
                samples["s0001"]["png"] = b"broken"
            write_tar(folder / f"{name}.tar", samples)
    same = tmp_path / "shards" / "first" / "a.tar"
    (tmp_path / "shards" / "second" / "a.tar").unlink()
    (tmp_path / "shards" / "second" / "a.tar").hardlink_to(same)
    return tmp_path / "shards"


def run(output: str, shards: Path) -> int:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), output, str(shards)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    steps: int = json.loads(done.stdout)["steps"]
    return steps


def test_on_a_disk(tmp_path: Path, shards: Path) -> None:
    assert run(str(tmp_path / "out"), shards) > 60


def test_in_an_object_store(bucket: str, shards: Path) -> None:
    assert run(f"{bucket}/out", shards) > 20
