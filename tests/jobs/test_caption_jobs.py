"""Captions end to end: shards, training, inference, a kill, evaluation, nights' sums and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tones import png, wav, write_tar

from bench.soak.kills import InferenceJob, Point
from jobs import evaluate, infer, report, train
from jobs._job import Job, main

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (120,) * 3}
HERTZ = {"red": 300.0, "green": 700.0, "blue": 1200.0, "grey": 2000.0}


def samples(count: int, seed: int) -> dict[str, dict[str, bytes]]:
    """A colour and a tone that give a word away, and two texts with it; some samples have but one of the two."""
    random = np.random.default_rng(seed)
    made = {}
    for index in range(count):
        name = list(COLOURS)[index % 4]
        shade = np.clip(np.array(COLOURS[name]) + random.integers(-20, 20, 3), 0, 255)
        fields = {"png": png(tuple(map(int, shade))), "wav": wav(HERTZ[name])}
        if index % 5 == 4:
            del fields["png" if index % 2 else "wav"]
        texts = {"captions": [f"a {name} one", f"the {name} one"]}
        made[f"s{index:03d}"] = {**fields, "json": json.dumps(texts).encode()}
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model."""
    home = tmp_path_factory.mktemp("captions")
    first = samples(48, 0)
    for key, bad in (("s003", b'{"captions": [""]}'), ("s007", b'{"captions": 3}')):
        first[key]["json"] = bad
    write_tar(home / "data" / "c-train-000000.tar", first)
    write_tar(home / "data" / "c-train-000001.tar", samples(48, 1))
    odd = samples(16, 2)
    odd["s000"]["json"] = json.dumps({"captions": ["a z\u00e9bra", "red " * 9]}).encode()
    write_tar(home / "data" / "c-val-000000.tar", odd)
    for shard in range(3):
        write_tar(home / "data" / f"c-test-{shard:06d}.tar", samples(12, 3 + shard))
    (home / "captions.yaml").write_text(
        f"""
run: {home}/run
input:
  train: {home}/data/c-train-*.tar
  val: {home}/data/c-val-*.tar
  test: {home}/data/c-test-*.tar
modalities:
  image: {{fields: [png], size: 16, encoder: {{kind: statistics}}}}
  audio: {{fields: [wav], sample_rate_hz: 8000, max_seconds: 0.3, num_mels: 20, encoder: {{kind: statistics}}}}
objective: {{kind: caption, target: json.captions, width: 32, max_tokens: 20, fusion: {{kind: concat}}}}
train: {{epochs: 20, batch_size: 16, learning_rate: 1e-2, seed: 1, augment: false}}
infer: {{batch_size: 8}}
evaluate: {{num_bootstrap: 50}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    assert run(train.JOB, home) == 0
    return home


def run(job: Job, home: Path, *words: str) -> int:
    return main(job, [str(home / "captions.yaml"), *words])


def rows_of(folder: Path) -> list[Mapping[str, object]]:
    return [
        row
        for path in sorted(folder.glob("part-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_training_tells_what_is_bad_and_what_is_odd(home: Path) -> None:
    rows = [
        (row["key"], row["outcome"], row["reason"], row["setting"])
        for path in (home / "run" / "_quarantine").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert sorted(rows) == [
        ("s000", "noted", "noted_cut_target", "objective.max_tokens"),
        ("s003", "quarantined", "bad_label", "objective.target"),
        ("s007", "quarantined", "bad_label", "objective.target"),
    ]
    trained = json.loads((home / "run" / "model" / "summary.json").read_text())
    assert trained["samples_noted"] == 1
    bundle = json.loads((home / "run" / "model" / "bundle.json").read_text())
    assert bundle["learned"]["most_frequent"] in {
        f"{word} {name} one" for word in ("a", "the") for name in COLOURS
    }
    assert bundle["training"]["kept"]["chosen_by"] == "val_perplexity"
    history = [
        json.loads(line) for line in (home / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert history[-1]["val_perplexity"] < history[0]["val_perplexity"]


def test_captions_from_inference_to_a_report(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(infer.JOB, home) == 0
    rows = rows_of(home / "run" / "embeddings")
    assert len(rows) == 36
    said = {(row["shard"], row["key"]): row["caption"] for row in rows}
    assert run(evaluate.JOB, home) == 0
    metrics = json.loads((home / "run" / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["exact_match"] > 0.8
    assert metrics["cider"] > 3 * metrics["cider_of_most_frequent"] > 0
    assert {
        "bleu_4",
        "rouge_l",
        "meteor",
        "cider_image",
        "cider_audio",
        "cider_image+audio",
    } <= set(metrics)
    judged = pq.read_table(home / "run" / "evaluation" / "predictions.parquet").to_pylist()
    assert {(row["shard"], row["key"]): row["caption"] for row in judged} == said
    assert judged[0]["label"] == ["a red one", "the red one"]
    assert run(report.JOB, home) == 0
    page = (home / "run" / "report.html").read_text()
    assert "Captions reach a CIDEr-D of" in page
    assert "The most frequent caption of the training set" in page
    assert "a red one / the red one" in page
    capsys.readouterr()
    assert run(infer.JOB, home, "infer.seed=5") == 0, "no chance: the rows are of any seed"


def test_a_seed_is_part_of_rows_that_are_drawn(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = json.loads((home / "run" / "model" / "bundle.json").read_text())
    assert drawing["objective"]["search"]["kind"] == "beam"
    nucleus = ["objective.search={kind: nucleus, temperature: 3.0}", f"run={home}/drawn"]
    assert run(train.JOB, home, "train.epochs=1", *nucleus) == 0
    told = capsys.readouterr().err
    assert "odd_targets split=val unknown_characters=2 texts_cut_to_max_tokens=1" in told
    assert "odd_targets split=train" not in told
    assert run(infer.JOB, home, *nucleus) == 0
    first = rows_of(home / "drawn" / "embeddings")
    capsys.readouterr()
    assert run(infer.JOB, home, *nucleus, "infer.seed=5") == 2
    assert "seed" in capsys.readouterr().err
    assert run(infer.JOB, home, *nucleus, "infer.seed=5", "infer.replace=true") == 0
    second = rows_of(home / "drawn" / "embeddings")
    assert [row["key"] for row in first] == [row["key"] for row in second]
    assert [row["caption"] for row in first] != [row["caption"] for row in second]

    killed = home / "killed"
    overrides = [*nucleus, "infer.seed=5"]
    job = InferenceJob(home / "captions.yaml", killed, home / "killed.log", overrides=overrides)
    try:
        job.strike("driver", Point(1, 0.0), np.random.default_rng(0))
        assert job.wait() == -9, job.said()
    finally:
        job.end()
    assert not (killed / "_manifest.json").exists()
    assert run(infer.JOB, home, *overrides, f"infer.output={killed}") == 0
    assert json.loads((killed / "summary.json").read_text())["parts_skipped"] > 0
    files = {path.name: path.read_bytes() for path in killed.glob("part-*.parquet")}
    assert files == {
        path.name: path.read_bytes()
        for path in (home / "drawn" / "embeddings").glob("part-*.parquet")
    }


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["objective.target=json.nothing"], 2, "no training sample has a text"),
        (["objective.target=wav"], 2, "modalities.audio would show it wav"),
        (["objective.fusion.kind=mean"], 2, "joins the answers of modalities"),
        (["train.learning_rate=1e30", "train.epochs=2"], 2, "the loss of epoch 1 is not finite"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    capsys.readouterr()
    assert run(train.JOB, home, f"run={home}/refused", *words) == code
    [line] = [line for line in capsys.readouterr().err.splitlines() if "Error" in line]
    assert told in line
