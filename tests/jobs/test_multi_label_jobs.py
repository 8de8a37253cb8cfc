"""Samples of several labels through the jobs: trained on, predicted and judged."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tones import png, write_tar

from jobs import _job, evaluate, infer, report, train

TAGS = ("bright", "green", "loud")


def fields(rng: np.random.Generator) -> dict[str, bytes]:
    """A sample whose picture says two of its labels, and whose text says the third."""
    tags = [tag for tag in TAGS if rng.random() < 0.4]
    colour = (220 if "bright" in tags else 20, 220 if "green" in tags else 20, 60)
    text = f"{'loud noise' if 'loud' in tags else 'silence'} {rng.integers(100)}"
    return {
        "png": png(colour, size=16),
        "txt": text.encode(),
        "json": json.dumps({"tags": tags}).encode(),
    }


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for split, count in (("train", 120), ("val", 60), ("test", 60)):
        rng = np.random.default_rng(count)
        samples = {f"s{i:04d}": fields(rng) for i in range(count)}
        samples["s0003"]["json"] = b'{"tags": "no list"}'
        if split == "test":
            samples["s0004"]["json"] = b'{"tags": ["green", "unheard of"]}'
        write_tar(tmp_path / f"{split}.tar", samples)
    path = tmp_path / "tags.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "input": {split: str(tmp_path / f"{split}.tar") for split in ("train", "val", "test")},
        "modalities": {
            "image": {"fields": ["png"], "size": 16},
            "text": {"fields": ["txt"], "max_tokens": 8, "vocab_size": 300},
        },
        "objective": {
            "kind": "multi_label",
            "label": "json.tags",
            "width": 32,
            "fusion": {"kind": "concat"},
        },
        "train": {"epochs": 5, "batch_size": 16, "learning_rate": 3e-3, "seed": 1},
        "evaluate": {"num_bootstrap": 50},
        "cluster": {"num_cpus": 1, "executor": "here"},
    }
    settings["input"]["max_bad_fraction"] = 0.1
    path.write_text(json.dumps(settings))
    return path


def test_train_infer_evaluate_and_report(config: Path, tmp_path: Path) -> None:
    for job in (train, infer, evaluate, report):
        assert _job.main(job.JOB, [str(config)]) == 0
    run = tmp_path / "run"
    bundle = json.loads((run / "model" / "bundle.json").read_text())
    assert bundle["learned"]["classes"] == list(TAGS)
    thresholds = bundle["learned"]["thresholds"]
    assert len(thresholds) == 3
    assert thresholds != [0.5] * 3, "chosen on the validation split"

    kept = bundle["training"]["kept"]
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert kept["chosen_by"] == "val_mean_average_precision"
    column = [row["val_mean_average_precision"] for row in history]
    assert column[kept["epoch"] - 1] == max(column)

    table = pq.read_table(next((run / "embeddings").glob("*.parquet")))
    assert table.num_rows == 60, "what is to be predicted needs no label"
    for row in table.to_pylist():
        reached = [
            tag for tag, p, t in zip(TAGS, row["probabilities"], thresholds, strict=True) if p >= t
        ]
        assert row["prediction"] == reached

    metrics = json.loads((run / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["mean_average_precision"] > 0.95
    assert metrics["mean_average_precision_image"] < metrics["mean_average_precision"]
    assert metrics["f1_micro"] > 0.9
    bad = pq.read_table(next((run / "evaluation" / "_quarantine").glob("*.parquet"))).to_pylist()
    assert {(row["key"], row["reason"]) for row in bad} == {
        ("s0003", "bad_label"),
        ("s0004", "unknown_label"),
    }

    page = (run / "report.html").read_text("utf-8")
    for title in ("Average precision of each class", "All labels right", "Micro F1"):
        assert title in page
