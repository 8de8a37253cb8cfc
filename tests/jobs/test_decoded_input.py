"""Training, inference and evaluation on a preprocessed folder: what they give on its shards."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import _job, evaluate, infer, preprocess, report, train


def run(job: _job.Job, config: Path, *overrides: str) -> None:
    assert _job.main(job, [str(config), *overrides]) == 0


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)[name] for line in lines for name in ("train_loss", "val_accuracy")]


def predictions(folder: Path, pattern: str) -> dict[tuple[str, str], list[float]]:
    tables = [pq.read_table(file) for file in folder.glob(pattern)]
    found = [row for table in tables for row in table.to_pylist()]
    return {(row["shard"], row["key"]): row["probabilities"] for row in found}


def test_the_same_results_as_from_the_shards(
    tone_config: Path, tone_data: Path, tmp_path: Path
) -> None:
    shards, folder = tmp_path / "shards", tmp_path / "folder"
    # One shard, so that the order of the parts, which is drawn anew each epoch, is the same for both.
    given = [f"run={shards}", f"input.train={tone_data}/tone-train-000001.tar"]
    for split in ("train", "test"):
        output = f"preprocess.output={tmp_path}/{split}"
        run(preprocess.JOB, tone_config, *given, f"preprocess.input={split}", output)
    decoded = [f"run={folder}", *(f"input.{each}={tmp_path}/{each}" for each in ("train", "test"))]
    run(train.JOB, tone_config, *given, "train.epochs=2")
    run(train.JOB, tone_config, *decoded, "train.epochs=2")
    np.testing.assert_allclose(losses(folder), losses(shards), rtol=1e-4)
    assert (folder / "tokenizer.json").read_bytes() == (shards / "tokenizer.json").read_bytes()

    model = f"infer.model={shards}/model"
    run(infer.JOB, tone_config, f"run={shards}")
    run(infer.JOB, tone_config, *decoded, model)
    run(evaluate.JOB, tone_config, *decoded, model)
    expected = predictions(shards / "embeddings", "part-*.parquet")
    for found in (
        predictions(folder / "embeddings", "part-*.parquet"),
        predictions(folder / "evaluation", "predictions.parquet"),
    ):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, atol=1e-6)

    run(report.JOB, tone_config, *decoded)
    page = (folder / "report.html").read_text("utf-8")
    assert "40 train" in page


def test_another_tokenizer_is_refused(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(preprocess.JOB, tone_config)
    tokenizer = tmp_path / "run" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    given = f"input.train={tmp_path}/run/decoded"
    assert _job.main(train.JOB, [str(tone_config), given]) == 2
    assert "tokenizer was" in capsys.readouterr().err
