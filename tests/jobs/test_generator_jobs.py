"""Batch inference and nights with pretrained generators, through the real jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.encoders import in_this_process
from support.generators import save_bart, save_whisper
from support.tones import make_samples, write_tar
from test_jobs import rows, run, summary

import pipeline
from jobs import evaluate, infer, nightly
from pipeline.config import load

SHARDS = 4


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bart(tmp_path_factory.mktemp("bart"))


def test_texts_of_texts(
    tone_config: Path, tmp_path: Path, bart: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row for every sample, null where it has no text; other settings are refused on rows that are there."""
    home = tmp_path / "run" / "embeddings"
    options = (f"infer.model=hf:{bart}", "infer.batch_size=8", "infer.settings.max_new_tokens=6")
    assert run(infer.JOB, tone_config, *options, "--dry-run") == 0
    assert not home.exists()
    assert run(infer.JOB, tone_config, *options) == 0
    table = rows(home)
    config = load(tone_config, options)
    assert isinstance(config.input.test, str)
    expected = in_this_process(config, config.input.test)
    assert [(row["shard"], row["key"]) for row in table] == sorted(expected)
    for row in table:
        assert row["generated_text"] == expected[row["shard"], row["key"]]["generated_text"]
        assert (row["generated_text"] is None) == ("text" not in row["modalities"])
    schema = pq.read_schema(next(home.glob("part-*.parquet")))
    names = ["key", "shard", "modalities", "generated_text", "generated_tokens", "json"]
    assert schema.names == names
    counts = summary(home)
    assert counts["samples_read"] == counts["samples_written"] == len(table) == 48
    assert counts["samples_noted"] == sum(row["generated_tokens"] == 6 for row in table) > 0
    ledger = pq.read_table(home / "_quarantine").to_pylist()
    assert {(row["outcome"], row["reason"]) for row in ledger} == {("noted", "noted_cut_text")}

    capsys.readouterr()
    assert run(infer.JOB, tone_config, *options[:2], "infer.settings.max_new_tokens=7") == 2
    assert "model" in capsys.readouterr().err
    assert run(infer.JOB, tone_config, *options, "infer.settings.num_beam=2") == 2
    assert "did you mean num_beams?" in capsys.readouterr().err
    assert run(evaluate.JOB, tone_config, *options) == 2
    assert "no predictions that could be judged" in capsys.readouterr().err


def test_nights_of_transcripts(tmp_path: Path) -> None:
    """The second is held against the first: by lengths, and by how many are empty."""
    folder = tmp_path / "whisper"
    save_whisper(folder)
    path = tmp_path / "night.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": {"audio": {}},
        "infer": {
            "input": f"{tmp_path}/in/*.tar",
            "model": f"hf:{folder}",
            "settings": {"max_new_tokens": 6, "language": "en"},
        },
        "input": {"max_bad_fraction": 1},
        "cluster": {"num_cpus": 1, "executor": "here"},
    }
    path.write_text(json.dumps(settings))
    reports = []
    for number in (1, 2):
        write_tar(tmp_path / "in" / f"{number}.tar", make_samples(14, seed=number))
        date = f"2026-11-0{number}"
        assert nightly.main([str(path), "--date", date]) == 0
        reports.append(json.loads((tmp_path / "run" / "nightly" / f"{date}.json").read_text()))
    assert {"characters_psi", "texts_psi"} <= set(json.dumps(reports[1]).split('"'))
    table = rows(tmp_path / "run" / "embeddings")
    assert {row["language"] for row in table} == {"en"}
    assert len({row["transcript"] for row in table}) > 1


@pytest.mark.parametrize("sink", ["parquet", "webdataset"])
def test_a_killed_job_goes_on_to_the_same_bytes(tmp_path: Path, bart: Path, sink: str) -> None:
    for number in range(SHARDS):
        write_tar(tmp_path / "in" / f"{number}.tar", make_samples(12, seed=number))
    path = tmp_path / "job.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": {"text": {}},
        "infer": {
            "input": f"{tmp_path}/in/*.tar",
            "model": f"hf:{bart}",
            "batch_size": 4,
            "settings": {"max_new_tokens": 40},
        },
        "input": {"max_bad_fraction": 1},
        "sink": {"kind": sink},
        "cluster": {"num_cpus": 1, "executor": "here"},
    }
    path.write_text(json.dumps(settings))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "jobs.infer", str(path), f"infer.output={killed}"]
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        while not list(killed.glob("_commit/[0-9a-f]*.json")):
            assert job.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.01)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    for output in (killed, whole):
        assert run(infer.JOB, path, f"infer.output={output}") == 0
    assert 0 < summary(killed)["parts_skipped"] < SHARDS  # type: ignore[operator]
    assert summary(whole)["parts_done"] == SHARDS
    files = {file.name: file.read_bytes() for file in whole.glob("part-*")}
    assert files
    assert files == {file.name: file.read_bytes() for file in killed.glob("part-*")}


def test_in_a_program_of_ones_own(bart: Path) -> None:
    model = pipeline.load_model(
        f"hf:{bart}", settings={"max_new_tokens": 5}, modalities={"text": {}}
    )
    predictions = model.predict([{"txt": b"a red dog"}, {"txt": b"\xff"}, {"txt": b"photo"}])
    assert [row["key"] for row in predictions] == ["0", "2"]
    assert model.columns == ["generated_text", "generated_tokens"]
    assert [bad.reason for bad in predictions.quarantine] == ["bad_text"]
