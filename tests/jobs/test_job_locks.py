"""Every job that writes takes the lock of its folder first: a second one at once ends with exit code 75."""

import importlib
from pathlib import Path

import pytest
import yaml
from support.sealed import seal
from support.tones import write_tar

from jobs import __main__ as command
from jobs import _job, demo, nightly, pack
from pipeline.storage.locking import locks

READERS = {"search", "init", "generate"}  # they write into no job's folder
# The first runs elsewhere, the second runs jobs that take their own, the others are below.
NOT_OF_THIS_KIND = {"submit", "gallery", "demo", "nightly"}
JOBS = sorted(set(command.job_names()) - READERS - NOT_OF_THIS_KIND)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    samples = {
        f"k{number}": {"txt": b"some words", "cls": f"{number % 2}".encode()} for number in range(6)
    }
    for split in ("train", "val", "test"):
        write_tar(tmp_path / f"{split}.tar", samples)
    path = tmp_path / "job.yaml"
    tree = {
        "run": str(tmp_path / "run"),
        "input": {split: str(tmp_path / f"{split}.tar") for split in ("train", "val", "test")},
        "modalities": {"text": {"fields": ["txt"], "vocab_size": 300}},
        "objective": {"kind": "classify", "label": "cls", "width": 32},
        "pack": {"source": str(tmp_path / "in"), "output": str(tmp_path / "packed"), "name": "x"},
    }
    path.write_text(yaml.safe_dump(tree))
    seal(path, tmp_path / "run" / "model", ["0", "1"], ["some words"])
    return path


def folder_of(job: _job.Job, config: Path) -> str:
    return job.output(_job.load(str(config), []))


@pytest.mark.parametrize("name", JOBS)
def test_a_second_one_at_once_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    module = importlib.import_module(f"jobs.{name}")
    job = module.job_for(str(config), ()) if hasattr(module, "job_for") else module.JOB
    folder = folder_of(job, config)
    with locks.lock(folder):
        before = sorted(Path(folder).rglob("*"))
        assert _job.main(job, [str(config)]) == 75
        assert sorted(Path(folder).rglob("*")) == before, "and has written nothing there"
    said = capsys.readouterr().err
    assert "another job works on this folder" in said
    assert folder in said


def test_a_second_night_at_once_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locks.lock(folder_of(nightly.job_for("2026-11-21"), config)):
        assert nightly.main([str(config), "--date", "2026-11-21"]) == 75
    assert "another job works on this folder" in capsys.readouterr().err


def test_a_night_and_an_inference_into_one_output_do_not_meet(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infer = importlib.import_module("jobs.infer").JOB
    assert folder_of(infer, config) == folder_of(nightly.job_for("2026-11-21"), config)


def test_a_second_demo_at_once_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    with locks.lock(str(folder)):
        assert demo.main([f"run={folder}"]) == 75
        assert list(folder.iterdir()) == []
    assert "another job works on this folder" in capsys.readouterr().err


def test_pack_gives_its_folder_back(config: Path) -> None:
    """Its writer holds the lock, not the command."""
    assert _job.main(pack.JOB, [str(config)]) == 0
    with locks.lock(folder_of(pack.JOB, config)):
        pass
