"""An objective and a modality that lie beside the configuration alone, through all jobs."""

import csv
import json
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import support.own

from jobs import _job, evaluate, infer, lint, pack, preprocess, report, search, train

# A package of its own name, so that nothing finds it but through the configuration's folder.
PACKAGE = "models_of_mine"
CLASSES = (f"{PACKAGE}.ordinal:OrdinalConfig", f"{PACKAGE}.bits:BitsConfig")
LEVELS = 4


def write_table(folder: Path, count: int = 240) -> Path:
    """A level is how many quarters of 64 bits are mostly ones; some samples lack the bits, some have bad ones."""
    chance = random.Random(3)
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "hex", "txt", "cls"])
        writer.writeheader()
        for index in range(count):
            level = index % LEVELS
            words = [
                chance.getrandbits(16) & chance.getrandbits(16) & chance.getrandbits(16)
                for _ in range(4)
            ]
            words = [
                word ^ 0xFFFF if quarter < level else word for quarter, word in enumerate(words)
            ]
            digits = "".join(f"{word:04x}" for word in words)
            row = {"id": f"s{index:03d}", "hex": digits, "txt": f"of level {level}", "cls": level}
            if index in (8, 16):
                row["hex"] = "no bits" if index == 8 else "ffff"
            elif index % 9 == 4:
                row["hex"] = ""
            writer.writerow(row)
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    shutil.copytree(Path(support.own.__file__).parent, tmp_path / PACKAGE)
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input:
  train: {tmp_path}/shards/data-train-*.tar
  val: {tmp_path}/shards/data-val-*.tar
  test: {tmp_path}/shards/data-test-*.tar
modalities:
  code: {{kind: python, class: "{CLASSES[1]}", settings: {{length: 64}}}}
  text: {{max_tokens: 8, vocab_size: 300}}
pack: {{source: {write_table(tmp_path)}, output: {tmp_path}/shards, key: id, columns: {{hex: hex, txt: txt, cls: cls}}}}
objective: {{kind: python, class: "{CLASSES[0]}", settings: {{width: 32, fusion: {{kind: concat}}}}}}
train: {{epochs: 8, batch_size: 16, learning_rate: 3e-3, seed: 1}}
evaluate: {{num_bootstrap: 50}}
cluster: {{num_cpus: 2, executor: here}}
""",
        encoding="utf-8",
    )
    return path


def run(job: _job.Job, config: Path, *overrides: str) -> int:
    return _job.main(job, [str(config), *overrides])


@pytest.mark.slow
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
