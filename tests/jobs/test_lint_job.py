"""The lint job as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from jobs import _job, lint


def run(config: Path, *overrides: str) -> int:
    return _job.main(lint.JOB, [str(config), *overrides])


def test_a_table_a_report_and_a_summary(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tone_config, "lint.estimate_samples=8") == 0
    out = capsys.readouterr().out
    assert out.startswith("lint: 192 samples in 6 shards")
    assert "keys of train are in val too" in out, "the fixture's splits share their keys"
    assert "PREPROCESS of train, estimated from 8 of 120 samples" in out
    folder = tmp_path / "run" / "lint"
    assert {path.name for path in folder.iterdir()} == {"lint.json", "summary.json"}
    report = json.loads((folder / "lint.json").read_text())
    assert {name: each["samples"] for name, each in report["splits"].items()} == {
        "train": 120,
        "val": 24,
        "test": 48,
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["samples_read"] == summary["samples_written"] == 192
    assert (summary["parts_done"], summary["status"]) == (6, "done")
    assert summary["metrics"]["keys_in_two_splits"] > 0
    assert summary["report"] == report
    assert not (tmp_path / "run" / "tokenizer.json").exists()


def test_json_on_stdout_is_the_summary(tone_config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.lint", str(tone_config), "lint.input=test", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    answer = json.loads(done.stdout)
    assert answer == json.loads((tmp_path / "run" / "lint" / "summary.json").read_text())
    assert set(answer["report"]["splits"]) == {"test"}
    assert "on=this_process" in done.stderr, "a small set does not wait for Ray"


def test_bad_data_ends_with_3_and_the_table_all_the_same(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = make_samples(20, seed=5)
    samples["s0002"]["png"] = b"broken"
    write_tar(tmp_path / "d" / "a.tar", samples)
    (tmp_path / "d" / "b.tar").write_bytes(b"no tar" * 500)
    inputs = (f"lint.input={tmp_path}/d/*.tar", "lint.estimate_samples=0")
    assert run(tone_config, *inputs) == 3
    printed = capsys.readouterr()
    assert "1 bad sample (bad_image)" in printed.out
    assert "b.tar at byte 0" in printed.out
    assert "BadDataError: 1 of 20 samples are bad and 1 shards are damaged" in printed.err
    folder = tmp_path / "run" / "lint"
    rows = [
        r for f in (folder / "_quarantine").glob("*.parquet") for r in pq.read_table(f).to_pylist()
    ]
    assert {(r["shard"], r["key"], r["reason"]) for r in rows} == {
        ("a.tar", "s0002", "bad_image"),
        ("b.tar", None, "not_tar"),
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"], summary["shards_damaged"]) == ("failed", 3, 1)

    samples["s0002"]["png"] = samples["s0001"]["png"]
    write_tar(tmp_path / "d" / "a.tar", samples)
    (tmp_path / "d" / "b.tar").unlink()
    assert run(tone_config, *inputs) == 0
    assert not list((folder / "_quarantine").glob("*")), "what is mended leaves no rows behind"


def test_dry_run(tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tone_config, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "train: 3 shards" in out
    assert "would look through them in this process" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["input={}"], ["nothing to look at", "set input.train"]),
        (["lint.input=nowhere/*.tar"], ["no shard matches nowhere/*.tar", "lint.input"]),
        (["input.train=nowhere.tar"], ["no shard matches nowhere.tar", "input.train"]),
        (["lint.inputs=x"], ["did you mean lint.input?"]),
    ],
)
def test_bad_settings_are_one_clear_line(
    tone_config: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], words: list[str]
) -> None:
    assert run(tone_config, *overrides) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "Error: " in line]
    assert all(word in line for word in words), line
