"""Readings of sensors through all jobs: two vectors in one sample, by the names that the configuration gives them."""

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from support.vectors import npy, wave

from jobs import _job, evaluate, infer, lint, pack, preprocess, report, train

CYCLES = {"fast": 12.0, "slow": 3.0}
STEPS = 64
BAD = {"s003": "pickled", "s010": "not finite", "s017": "another shape", "s024": "cut off"}


def write_table(folder: Path, count: int = 160) -> Path:
    """A table of paths and JSON: the waves of a class differ in frequency; the features have noise about it."""
    rng = np.random.default_rng(5)
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "reading", "about", "cls"])
        writer.writeheader()
        for index in range(count):
            name = f"s{index:03d}"
            label = sorted(CYCLES)[index % 2]
            array = wave(CYCLES[label] * rng.uniform(0.9, 1.1), rng.random(), steps=STEPS)
            array += rng.normal(0, 0.1, array.shape).astype(np.float32)
            features: list[float | None] = [CYCLES[label] + rng.normal(), 1e6 + rng.normal(), 7.0]
            if index % 5 == 0:
                features[1] = None
            about = {"sensors": {"summary": features}}
            row = {"id": name, "reading": f"{name}.npy", "about": json.dumps(about), "cls": label}
            (folder / row["reading"]).write_bytes(_content(array, BAD.get(name, "")))
            if index % 7 == 6:
                row["reading"] = ""
            elif index % 7 == 5:
                row["about"] = ""
            writer.writerow(row)
    return path


def _content(array: np.ndarray, fault: str) -> bytes:
    if fault == "pickled":
        return pickle.dumps(array)
    if fault == "not finite":
        array[5, 1] = np.inf
    return npy(array[:, :1] if fault == "another shape" else array)[
        : -9 if fault == "cut off" else None
    ]


@pytest.fixture
def sensors(tmp_path: Path) -> Path:
    path = tmp_path / "sensors.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input:
  train: {tmp_path}/shards/data-train-*.tar
  val: {tmp_path}/shards/data-val-*.tar
  test: {tmp_path}/shards/data-test-*.tar
modalities:
  acc: {{kind: vector, fields: [npy], shape: [{STEPS}, 2], augment: {{shift_fraction: 0.1}}}}
  summary: {{kind: vector, fields: [json], path: sensors.summary, shape: [3], non_finite: mask}}
pack:
  source: {write_table(tmp_path)}
  output: {tmp_path}/shards
  key: id
  columns: {{npy: reading, json: about, cls: cls}}
objective: {{kind: classify, label: cls, width: 32, fusion: {{kind: concat}}}}
train: {{epochs: 8, batch_size: 16, learning_rate: 3e-3, seed: 1}}
evaluate: {{num_bootstrap: 50}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    return path


def run(job: _job.Job, config: Path, *overrides: str) -> int:
    return _job.main(job, [str(config), *overrides])


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("part-*.parquet"))]
    return {row["key"]: row for table in tables for row in table.to_pylist()}


@pytest.mark.timeout(600)
def test_from_a_table_to_a_report(
    sensors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    assert run(pack.JOB, sensors) == 0

    capsys.readouterr()
    run(lint.JOB, sensors, "--json")
    total = json.loads(capsys.readouterr().out)["report"]["total"]
    # Without their payload: what is not finite is not seen.
    assert total["bad"] == {"bad_vector": 3}
    assert total["media"]["acc"]["steps"]["median"] == STEPS
    assert total["media"]["acc"]["dtype"] == {"float32": 136}

    assert run(preprocess.JOB, sensors) == 0
    decoded = rows(home / "decoded")
    quarantine = pq.read_table(
        next((home / "decoded" / "_quarantine").glob("*.parquet"))
    ).to_pylist()
    settings = {row["key"]: row["setting"] for row in quarantine if row["reason"] == "bad_vector"}
    assert settings == {
        "s003": "input.on_bad_field",
        "s010": "modalities.acc.non_finite",
        "s017": "modalities.acc.shape",
    }
    schema = pq.read_schema(next((home / "decoded").glob("part-*.parquet")))
    assert schema.field("acc").metadata[b"shape"] == b"64,2"
    key = next(key for key in decoded if decoded[key]["summary"] and int(key[1:]) % 5 == 0)
    assert decoded[key]["summary"][1] is None, "what is missing is null"
    assert decoded[key]["summary"][2] == 7.0, "values stay as they are"
    statistics = json.loads((home / "decoded" / "stats.json").read_text())["modalities"]
    assert statistics["summary"]["missing_values"] > 0
    assert statistics["acc"]["mean"][1] == pytest.approx(1000, abs=5)

    assert run(train.JOB, sensors) == 0
    weights = load_file(home / "model" / "weights.safetensors")
    mean = weights["encoders.acc.standardize.mean"].ravel()
    values = np.array([row["acc"] for row in decoded.values() if row["acc"]]).reshape(-1, 2)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-3, atol=1e-3)
    deviation = weights["encoders.acc.standardize.deviation"].ravel()
    np.testing.assert_allclose(deviation, values.std(axis=0), rtol=1e-3)
    assert weights["encoders.summary.standardize.deviation"].ravel()[2] == 1.0, "a constant"

    assert run(infer.JOB, sensors) == 0
    assert run(evaluate.JOB, sensors) == 0
    metrics = json.loads((home / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["accuracy"] >= 0.85
    assert metrics["accuracy_acc"] >= 0.8
    assert metrics["accuracy_summary"] >= 0.8

    assert run(report.JOB, sensors) == 0
    page = (home / "report.html").read_text()
    assert "data:image/png;base64" in page, "vectors are shown as plots"

    # What was preprocessed is trained on as the shards are.
    assert run(train.JOB, sensors, f"run={tmp_path}/again", f"input.train={home}/decoded") == 0
    again = load_file(tmp_path / "again" / "model" / "weights.safetensors")
    for name in ("acc", "summary"):
        for part in ("mean", "deviation"):
            place = f"encoders.{name}.standardize.{part}"
            np.testing.assert_allclose(again[place], weights[place], rtol=1e-6)

    # Training that goes on keeps what it knew.
    assert run(train.JOB, sensors, "train.resume=true", "train.epochs=9") == 0
    resumed = load_file(home / "model" / "weights.safetensors")
    np.testing.assert_array_equal(resumed["encoders.acc.standardize.mean"].ravel(), mean)
