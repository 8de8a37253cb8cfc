"""Numbers end to end: shards, training, inference, evaluation and the page."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tones import png, wav, write_tar

from jobs import evaluate, infer, report, train
from jobs._job import Job, main

NUMBERS_OF_A_SAMPLE = ("json.level", "json.hertz")


def samples(count: int, seed: int) -> dict[str, dict[str, bytes]]:
    """A grey and a tone that give a number away."""
    random = np.random.default_rng(seed)
    made = {}
    for index, share in enumerate(random.uniform(0, 1, count)):
        grey = int(20 + 215 * share)
        values = {"level": 100 + 50 * share, "hertz": 300 + 1500 * share}
        made[f"s{index:04d}"] = {
            "png": png((grey, grey, grey)),
            "wav": wav(values["hertz"]),
            "json": json.dumps(values).encode(),
        }
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    first = samples(60, 0)
    for key, bad in (("s0003", b'{"level": NaN}'), ("s0007", b'{"level": "warm", "hertz": 3}')):
        first[key]["json"] = bad
    write_tar(tmp_path / "data" / "n-train-000000.tar", first)
    write_tar(tmp_path / "data" / "n-train-000001.tar", samples(60, 1))
    write_tar(tmp_path / "data" / "n-val-000000.tar", samples(24, 2))
    write_tar(tmp_path / "data" / "n-test-000000.tar", samples(24, 3))
    path = tmp_path / "numbers.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input:
  train: {tmp_path}/data/n-train-*.tar
  val: {tmp_path}/data/n-val-*.tar
  test: {tmp_path}/data/n-test-*.tar
modalities:
  image: {{fields: [png], size: 16}}
  audio: {{fields: [wav], sample_rate_hz: 8000, max_seconds: 0.3, num_mels: 20}}
objective: {{kind: regress, target: json.level, width: 32, fusion: {{kind: concat}}}}
train: {{epochs: 12, batch_size: 16, learning_rate: 5e-3, seed: 1, augment: false}}
evaluate: {{num_bootstrap: 50}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    return path


def run(job: Job, path: Path, *words: str) -> int:
    return main(job, [str(path), *words])


def test_one_number_from_shards_to_a_report(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    assert run(train.JOB, config) == 0
    trained = json.loads((home / "model" / "summary.json").read_text())
    assert trained["samples_quarantined"] == 2
    [rows] = [pq.read_table(path) for path in (home / "_quarantine").glob("*.parquet")]
    told = {row["key"]: row for row in rows.to_pylist()}
    assert {told[key]["reason"] for key in ("s0003", "s0007")} == {"bad_label"}
    assert told["s0007"]["setting"] == "objective.target"
    bundle = json.loads((home / "model" / "bundle.json").read_text())
    learned, kept = bundle["learned"], bundle["training"]["kept"]
    assert learned["mean"] == pytest.approx([125], abs=5)
    assert learned["deviation"] == pytest.approx([50 / 12**0.5], abs=2)
    history = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    assert kept["chosen_by"] == "val_mae"
    assert history[kept["epoch"] - 1]["val_mae"] == min(row["val_mae"] for row in history)
    assert bundle["metrics"]["val_mae"] < 5, "12.5 is what the mean is off by"

    assert run(infer.JOB, config) == 0
    [path] = (home / "embeddings").glob("part-*.parquet")
    table = pq.read_table(path)
    assert [str(table.schema.field(name).type) for name in ("embedding", "prediction")] == [
        "fixed_size_list<element: float>[32]",
        "float",
    ]
    assert json.loads(table.schema.metadata[b"targets"]) == ["json.level"]

    assert run(evaluate.JOB, config) == 0
    metrics = json.loads((home / "evaluation" / "summary.json").read_text())["metrics"]
    names = {"mae", "rmse", "r2", "spearman", "mae_image", "mae_audio", "mae_image+audio"}
    assert names <= set(metrics)
    assert metrics["r2"] > 0.8
    judged = pq.read_table(home / "evaluation" / "predictions.parquet").to_pylist()
    errors = [abs(row["label"] - row["prediction"]) for row in judged]
    assert np.mean(errors) == pytest.approx(metrics["mae"], rel=1e-6)
    by_key = {row["key"]: row["prediction"] for row in table.to_pylist()}
    for row in judged:
        assert by_key[row["key"]] == pytest.approx(row["prediction"], rel=1e-5)

    capsys.readouterr()
    assert run(evaluate.JOB, config, "objective.target=json.hertz") == 2
    assert "objective.target is json.hertz in the configuration" in capsys.readouterr().err
    assert run(report.JOB, config) == 0
    page = (home / "report.html").read_text()
    assert "The model is off by" in page
    assert "Predictions and targets" in page
    cards = page.count("<figure")

    judged = f"evaluate.input=[{tmp_path}/data/n-test-000000.tar]"
    assert run(evaluate.JOB, config, "input.test=null", judged) == 0
    assert run(report.JOB, config, "input.test=null") == 0
    page = (home / "report.html").read_text()
    assert "No predictions" not in page
    assert page.count("<figure") == cards, "what was judged is shown, though no split has it"


def test_several_numbers_of_one_sample(config: Path, tmp_path: Path) -> None:
    words = [f"objective.target=[{', '.join(NUMBERS_OF_A_SAMPLE)}]", "train.epochs=4"]
    for job in (train.JOB, infer.JOB, evaluate.JOB, report.JOB):
        assert run(job, config, *words) == 0
    home = tmp_path / "run"
    bundle = json.loads((home / "model" / "bundle.json").read_text())
    assert bundle["training"]["kept"]["chosen_by"] == "val_loss"
    [path] = (home / "embeddings").glob("part-*.parquet")
    schema = pq.read_schema(path)
    assert str(schema.field("prediction").type) == "fixed_size_list<element: float>[2]"
    metrics = json.loads((home / "evaluation" / "metrics.json").read_text())
    assert list(metrics["outputs"]) == list(NUMBERS_OF_A_SAMPLE)


def test_a_target_that_never_changes_ends_it_before_it_begins(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train.JOB, config, "objective.target=json.nothing") == 2
    assert "objective.target=json.nothing" in capsys.readouterr().err
