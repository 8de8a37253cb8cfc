"""The jobs end to end, on real shards, as a user runs them: in one process, and some on a real Ray."""

import json
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow.parquet as pq
import pytest
from support.tones import CLASSES, make_samples, png, write_tar

from jobs import _job, evaluate, infer, preprocess, report, train


def run(job: _job.Job, config: Path, *overrides: str) -> int:
    return _job.main(job, [str(config), *overrides])


@pytest.fixture(params=["here", "ray"])
def by_executor(request: pytest.FixtureRequest) -> str:
    """The override that names each executor in turn; Ray is there for its own."""
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    return f"cluster.executor={request.param}"


def summary(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "summary.json").read_text())
    return found


def rows(folder: Path) -> list[dict[str, object]]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("part-*.parquet"))]
    found = [row for table in tables for row in table.to_pylist()]
    return sorted(found, key=lambda row: (str(row["shard"]), str(row["key"])))


def test_from_shards_to_a_report(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], by_executor: str
) -> None:
    home = tmp_path / "run"
    assert run(train.JOB, tone_config, "train.epochs=8", by_executor) == 0
    assert (home / "model" / "weights.safetensors").exists()
    manifest = json.loads((home / "model" / "bundle.json").read_text())
    temperature = manifest["learned"].pop("temperature")
    assert manifest["learned"] == {"classes": sorted(CLASSES)}
    history = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["val_accuracy"] >= 0.9, "tones, colours and words tell the classes apart"
    trained = summary(home / "model")
    assert trained["samples_read"] == 120 + 24

    assert run(infer.JOB, tone_config, by_executor) == 0
    first = rows(home / "embeddings")
    assert len(first) == 48
    schema = pq.read_schema(next((home / "embeddings").glob("part-*.parquet")))
    assert schema.names == [
        "key", "shard", "modalities", "embedding", "prediction", "score", "probabilities", "json",
    ]  # fmt: skip
    assert str(schema.field("embedding").type) == "fixed_size_list<element: float>[32]"
    assert set(schema.metadata) >= {b"model", b"config", b"pipeline_version", b"classes"}
    glob = str(home / "embeddings" / "*.parquet")
    assert duckdb.sql(f"select count(*) from '{glob}'").fetchall() == [(48,)]
    assert polars.read_parquet(glob).height == 48

    capsys.readouterr()
    assert run(infer.JOB, tone_config, "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["parts_done"], again["parts_skipped"]) == (0, 2)
    assert rows(home / "embeddings") == first, "run again, nothing is doubled"

    assert run(evaluate.JOB, tone_config, by_executor) == 0
    judged = summary(home / "evaluation")
    metrics = judged["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["accuracy"] >= 0.9
    assert metrics["temperature"] == temperature
    assert metrics["expected_calibration_error_unscaled"] != metrics["expected_calibration_error"]
    subsets = ("image", "text", "audio", "image+text", "image+audio", "text+audio")
    assert {f"accuracy_{name}" for name in subsets} | {"f1_macro", "roc_auc"} <= set(metrics)
    predictions = pq.read_table(home / "evaluation" / "predictions.parquet")
    by_key = {(row["shard"], row["key"]): row for row in predictions.to_pylist()}
    for row in first:
        other = by_key[row["shard"], row["key"]]
        assert other["prediction"] == row["prediction"]
        np.testing.assert_allclose(other["probabilities"], row["probabilities"], atol=1e-6)

    assert run(evaluate.JOB, tone_config, "objective.width=64") == 2
    assert "objective.width is 64 in the configuration and 32 in" in capsys.readouterr().err
    assert run(report.JOB, tone_config) == 0
    page = (home / "report.html").read_text("utf-8")
    assert "<audio" in page
    assert "data:image/png" in page

    assert (
        run(infer.JOB, tone_config, "modalities.image.size=20", f"infer.output={tmp_path}/x") == 2
    )
    assert (
        "modalities.image.size is 20 in the configuration and 16 in the model"
        in capsys.readouterr().err
    )


@pytest.mark.usefixtures("local_ray")
def test_two_workers_and_resume(tone_config: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    on_ray = "cluster.executor=ray"
    assert run(train.JOB, tone_config, on_ray, "cluster.workers=2", "train.epochs=5") == 0
    history = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    assert history[-1]["val_accuracy"] >= 0.8
    more = (on_ray, "train.epochs=7", "train.learning_rate=1e-3")
    assert run(train.JOB, tone_config, *more) == 2, "a finished model is not replaced by accident"
    assert run(train.JOB, tone_config, *more, "train.resume=true") == 0
    more = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    assert more[:5] == history, "what was done is kept"
    assert [row["epoch"] for row in more] == list(range(1, 8))
    bundle = json.loads((home / "model" / "bundle.json").read_text())
    ranges = bundle["training"]["ranges"]
    assert [(each["first"], each["last"]) for each in ranges] == [(1, 5), (6, 7)]
    assert [each["settings"]["train"]["learning_rate"] for each in ranges] == [3e-3, 1e-3]
    kept = bundle["training"]["kept"]
    assert (kept["of"], kept["chosen_by"]) == (7, "val_accuracy")
    best = max(row["val_accuracy"] for row in more)
    assert more[kept["epoch"] - 1]["val_accuracy"] == best == bundle["metrics"]["val_accuracy"]
    found = summary(home / "model")["metrics"]
    assert (found["kept_epoch"], found["epochs"]) == (kept["epoch"], 7)  # type: ignore[index]


def test_preprocess_writes_what_was_decoded(tone_config: Path, tmp_path: Path) -> None:
    assert run(preprocess.JOB, tone_config, "preprocess.input=test") == 0
    folder = tmp_path / "run" / "decoded"
    found = rows(folder)
    assert len(found) == 48
    assert set(found[0]) == {
        "key", "shard", "modalities", "label", "image", "text", "audio", "json",
    }  # fmt: skip
    for row in found:
        for name in ("image", "text", "audio"):
            assert (row[name] is not None) == (name in row["modalities"])  # type: ignore[operator]
    assert run(preprocess.JOB, tone_config, "preprocess.input=test", "sink.kind=none") == 0
    assert summary(folder)["samples_written"] == 48


def test_bad_samples_and_shards_are_quarantined_and_the_job_goes_on(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = make_samples(40, seed=5)
    samples["s0002"]["png"] = b"broken"
    samples["s0009"]["wav"] = b"broken"
    write_tar(tmp_path / "d" / "a.tar", samples)
    (tmp_path / "d" / "b.tar").write_bytes(b"no tar" * 500)
    pattern = f"preprocess.input={tmp_path}/d/*.tar"
    assert run(preprocess.JOB, tone_config, pattern) == 3, "6 % is more than 5 %"
    assert "2 of 40 samples are bad and 1 shards are damaged" in capsys.readouterr().err
    folder = tmp_path / "run" / "decoded"
    assert len(rows(folder)) == 38, "the good ones are committed all the same"
    bad = [
        r for f in (folder / "_quarantine").glob("*.parquet") for r in pq.read_table(f).to_pylist()
    ]
    assert {(r["shard"], r["key"], r["field"], r["reason"]) for r in bad} == {
        ("a.tar", "s0002", "png", "bad_image"),
        ("a.tar", "s0009", "wav", "bad_audio"),
        ("b.tar", None, None, "not_tar"),
    }
    counts = summary(folder)
    assert counts["samples_read"] == 40
    assert (counts["samples_written"], counts["samples_quarantined"]) == (38, 2)
    assert (counts["shards_damaged"], counts["status"]) == (1, "failed")
    assert run(preprocess.JOB, tone_config, pattern, "input.max_bad_fraction=0.5") == 0


@pytest.mark.parametrize(
    ("job", "overrides", "code", "words"),
    [
        (train.JOB, ["input.train=nowhere/x-*.tar"], 2, ["no shard matches nowhere/x-*.tar"]),
        (train.JOB, ["modalities={image: {fields: [gif]}}"], 2, ["(gif)", "are: cls, json, png, txt"]),
        (train.JOB, ["objective.label=kind"], 2, ["no label was found in", "objective.label=kind"]),
        (train.JOB, ["train.epoch=1"], 2, ["did you mean train.epochs?"]),
        (infer.JOB, [], 2, ["no model bundle", "python -m jobs.train"]),
        (preprocess.JOB, ["preprocess.output=/proc/no"], 1, ["cannot be written", "/proc/no"]),
        (preprocess.JOB, ["input.test=null", "preprocess.input=test"], 2, ["input.test is not set"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(
    tone_config: Path,
    capsys: pytest.CaptureFixture[str],
    job: _job.Job,
    overrides: list[str],
    code: int,
    words: list[str],
) -> None:
    assert run(job, tone_config, *overrides) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if "Error: " in line]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]


def test_only_damaged_shards_end_with_3(tone_config: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"no tar" * 500)
    assert run(preprocess.JOB, tone_config, f"preprocess.input={tmp_path}/b.tar") == 3


def test_missing_labels_and_bad_samples_end_training_before_it_begins(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = make_samples(20, seed=5)
    for sample in list(samples.values())[:10]:
        del sample["cls"]
    write_tar(tmp_path / "half.tar", samples)
    given = (f"input.train={tmp_path}/half.tar", "input.val=null", "modalities.text=null")
    assert run(train.JOB, tone_config, *given) == 3
    told = capsys.readouterr().err
    assert "10 of 20 samples have no label that can be used" in told
    assert "missing_label" in told
    assert not (tmp_path / "run" / "checkpoints").exists(), "no epoch was trained"

    samples = make_samples(20, seed=5)
    for sample in list(samples.values())[:10]:
        sample["png"] = b"broken"
    write_tar(tmp_path / "broken.tar", samples)
    given = (f"input.train={tmp_path}/broken.tar", *given[1:])
    assert run(train.JOB, tone_config, *given) == 3
    assert "bad_image" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints" / "last.pt").exists(), "no epoch was trained"
    assert summary(tmp_path / "run" / "model")["samples_quarantined"] == 10
    assert not (tmp_path / "run" / "model" / "bundle.json").exists()


def test_labels_outside_the_training_set_are_quarantined(
    tone_config: Path, tone_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train.JOB, tone_config, "train.epochs=1", "input.val=null") == 0
    told = "epoch 1 of 1, chosen on the training data, since there was no validation split"
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "run" / "model" / "README.md").read_text()
    write_tar(
        tmp_path / "x.tar",
        {
            "a": {"png": png(), "cls": b"low"},
            "b": {"png": png(), "cls": b"new"},
            "c": {"png": png()},
        },
    )
    both = f"evaluate.input=[{tmp_path}/x.tar, {tone_data}/tone-train-000000.tar]"
    assert run(evaluate.JOB, tone_config, both, "input.max_bad_fraction=0.01") == 3
    assert "1 of the 2 shards were in its training set" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert metrics["seen_in_training"] == {"train": 1, "of": 2}
    [file] = (tmp_path / "run" / "evaluation" / "_quarantine").glob("*.parquet")
    reasons = {row["key"]: row["reason"] for row in pq.read_table(file).to_pylist()}
    assert reasons == {"b": "unknown_label", "c": "missing_label"}


def test_dry_run_prints_and_does_nothing(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], by_executor: str
) -> None:
    assert run(preprocess.JOB, tone_config, "--dry-run", "preprocess.input=test", by_executor) == 0
    out = capsys.readouterr().out
    assert "parts to do: 2 of 2" in out
    assert "max_tokens: 16" in out
    by_whom = (
        "by this process, without Ray"
        if "here" in by_executor
        else "decoded and written by one task"
    )
    assert by_whom in out
    assert not (tmp_path / "run" / "decoded").exists()


def test_the_first_samples_and_then_all_and_then_others(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("preprocess.input=train", "input.max_samples=50")
    folder = tmp_path / "run" / "decoded"
    assert run(preprocess.JOB, tone_config, *options) == 0
    assert len(rows(folder)) == 50
    assert run(preprocess.JOB, tone_config, "preprocess.input=train") == 0, "and then the rest"
    assert len(rows(folder)) == 120
    assert run(preprocess.JOB, tone_config, *options) == 2
    assert run(preprocess.JOB, tone_config, "preprocess.input=test") == 2
    assert len(rows(folder)) == 120
    line = [line for line in capsys.readouterr().err.splitlines() if "Error: " in line][-1]
    for word in (
        "tone-train-",
        "tone-test-",
        "preprocess.replace=true",
        "another preprocess.output",
    ):
        assert word in line
    assert run(preprocess.JOB, tone_config, "preprocess.input=test", "preprocess.replace=true") == 0
    assert {row["shard"] for row in rows(folder)} == {
        "tone-test-000000.tar",
        "tone-test-000001.tar",
    }


def test_the_same_seed_gives_the_same_curve(tone_config: Path, tmp_path: Path) -> None:
    curves = []
    for name in ("one", "two"):
        assert run(train.JOB, tone_config, f"run={tmp_path}/{name}", "train.epochs=2") == 0
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        curves.append([json.loads(line)["train_loss"] for line in lines])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)


def test_a_worker_that_cannot_write_ends_the_job_with_its_own_error(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], by_executor: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_parts").write_text("a file where a folder should be")
    assert run(preprocess.JOB, tone_config, f"preprocess.output={tmp_path}/out", by_executor) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("SinkError")]
    assert len(lines) == 1
    assert f"{tmp_path}/out/_parts" in lines[0]
