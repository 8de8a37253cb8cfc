"""An objective and a modality that lie beside the configuration alone, through all jobs."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.own_configuration import CLASSES, LEVELS, write_configuration

from jobs import _job, evaluate, infer, lint, pack, preprocess, report, search, train


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write_configuration(tmp_path)


def run(job: _job.Job, config: Path, *overrides: str) -> int:
    return _job.main(job, [str(config), *overrides])


@pytest.mark.timeout(600)
def test_from_a_table_to_a_report(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    assert run(pack.JOB, mine) == 0

    capsys.readouterr()
    run(lint.JOB, mine, "--json")
    listed = json.loads(capsys.readouterr().out)["report"]
    assert listed["total"]["bad"] == {"bad_bits": 2}
    assert any("no such string of bits" in problem["what"] for problem in listed["problems"])
    assert listed["total"]["media"]["code"]["digits"]["median"] == 16

    assert run(preprocess.JOB, mine) == 0
    statistics = json.loads((home / "decoded" / "stats.json").read_text())["modalities"]
    assert 0.2 < statistics["code"]["share_of_ones"] < 0.8
    quarantine = next((home / "decoded" / "_quarantine").glob("*.parquet"))
    settings = {row["setting"] for row in pq.read_table(quarantine).to_pylist()}
    assert "modalities.code.settings.length" in settings

    assert run(train.JOB, mine) == 0
    manifest = json.loads((home / "model" / "bundle.json").read_text())
    assert manifest["objective"]["class"] == CLASSES[0]
    assert manifest["modalities"]["code"]["class"] == CLASSES[1]
    assert manifest["learned"] == {"levels": LEVELS}
    assert not list((home / "model").glob("**/*.py"))

    assert run(infer.JOB, mine) == 0
    table = pq.read_table(sorted((home / "embeddings").glob("part-*.parquet")))
    assert set(table["level"].to_pylist()) <= set(range(LEVELS))

    assert run(evaluate.JOB, mine) == 0
    metrics = json.loads((home / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["levels_off"] < 0.3
    assert {"levels_off_code", "levels_off_text"} <= set(metrics)

    assert run(report.JOB, mine) == 0
    page = (home / "report.html").read_text()
    assert "levels on average" in page, "a template that lies beside the class"

    capsys.readouterr()
    assert search.main([str(mine), "--give", "code=ffff000000000000", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["neighbours"]
