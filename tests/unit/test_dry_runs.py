"""Every job says what it would do, and does none of it."""

import importlib
import json
from pathlib import Path

import pytest

from jobs import demo, init, submit
from jobs.__main__ import job_names
from pipeline import runs


@pytest.mark.parametrize("job", sorted(job_names()))
def test_every_job_takes_dry_run(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"jobs.{job}")
    if not hasattr(module, "build_parser"):
        from jobs._job import parser_for

        assert "--dry-run" in parser_for(module.JOB).format_help()
        return
    assert "--dry-run" in module.build_parser().format_help()


def test_the_demo_says_what_is_done_and_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"run={tmp_path}/demo", "--dry-run"]
    assert demo.main(words) == 0
    printed = capsys.readouterr().out
    assert f"run: {tmp_path}/demo" in printed
    steps = [line for line in printed.splitlines() if line.startswith("[")]
    assert len(steps) == 8
    assert all(step.endswith(": to do") for step in steps)
    assert list(tmp_path.iterdir()) == []

    # As it is after two steps: a folder with a summary each, and the marker of these settings.
    config = demo.configured(str(demo.CONFIG), [words[0]])
    for name in ("data", "model"):
        runs.Summary("x").write(f"{tmp_path}/demo/{name}")
    (tmp_path / "demo" / demo.IDENTITY).write_text(demo._Demo(config).identity)
    assert demo.main(words) == 0
    steps = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [step.rpartition(": ")[2] for step in steps] == ["already done"] * 2 + ["to do"] * 6
    assert demo.main([*words, "train.epochs=1"]) == 0
    assert "already done" not in capsys.readouterr().out, "other settings begin anew"


@pytest.mark.parametrize("run", ["one", "an odd: #name"])
def test_the_demo_reads_what_it_makes_in_its_run(tmp_path: Path, run: str) -> None:
    folder = tmp_path / run
    moved = demo.configured(str(demo.CONFIG), [f"run={json.dumps(str(folder))}"])
    patterns = [getattr(moved.input, split) for split in demo.SPLITS]
    assert patterns == [f"{folder}/data/demo-{split}-*.tar" for split in ("train", "val", "test")]
    made = next(step for step in demo._Demo(moved).steps if "make and pack" in step.about)
    assert made.result.parent == folder / "data"
    here = demo.configured(str(demo.CONFIG), [])
    assert here == demo.load(str(demo.CONFIG)), "where run is as shipped, so is all else"
    words = [f"run={tmp_path}", "cluster.address=auto"]
    assert demo.configured(str(demo.CONFIG), words).input.val == f"{tmp_path}/data/demo-val-*.tar"
    chosen = demo.configured(str(demo.CONFIG), [f"run={tmp_path}", "input.val=mine/*.tar"])
    assert chosen.input.val == "mine/*.tar"


def test_submit_says_what_it_would_hand_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engine.cluster.submit.api_address", lambda address: address)
    config = tmp_path / "my.yaml"
    config.write_text(
        "run: s3://bucket/r\nmodalities: {image: }\ninput: {train: s3://bucket/*.tar}\n"
    )
    words = ["train", str(config), "train.epochs=3", "--address", "http://head:8265", "--dry-run"]
    assert submit.main([*words, "--", "--json"]) == 0
    printed = capsys.readouterr().out
    assert "epochs: 3" in printed
    command = "python -m jobs.train submitted/my.yaml train.epochs=3 --json cluster.address=auto"
    assert f"would hand to http://head:8265: {command}" in printed
    assert submit.main([*words, "run=relative"]) == 2, "as the job would"
    assert "run: relative is relative" in capsys.readouterr().err


def test_init_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text")
    assert init.main(["texts", "--dry-run"]) == 0
    assert "would write texts.yaml" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_counts_of_another_job_have_no_rate() -> None:
    """The demo shows the counts of its inference, and asks for no sample itself."""
    shown = runs.Summary("demo", samples_read=359, samples_written=359)
    shown.close()
    assert json.loads(shown.to_json())["samples_per_second"] == 0
    first = runs.process_clock() - 2
    own = runs.Summary("infer", samples_read=100, samples_written=100, first_sample=first)
    own.close()
    assert 0 < own.samples_per_second <= 50


def test_the_demos_rate_is_that_of_its_inference(tmp_path: Path) -> None:
    config = demo.configured(str(demo.CONFIG), [f"run={tmp_path}/demo"])
    folder = tmp_path / "demo"
    accuracies = dict.fromkeys(("accuracy", "accuracy_image"), 0.5)
    written = runs.Summary("infer", samples_read=359, samples_written=350, samples_filtered=9)
    written.samples_per_second = 123.4
    written.write(str(folder / "embeddings"))
    runs.Summary("evaluate", metrics=accuracies, fingerprint="f").write(str(folder / "evaluation"))
    rows = [{"modalities": ["image"], "accuracy": 0.4}]
    (folder / "evaluation" / "metrics.json").write_text(json.dumps({"comparison": rows}))
    summary = demo._Demo(config)._summary(fresh=True)
    assert summary.samples_per_second == 123.4
    assert (summary.samples_read, summary.samples_filtered) == (359, 9)
