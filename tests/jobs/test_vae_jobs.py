"""Variational autoencoders end to end: training, a judge, inference by seed, evaluation and the page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.sealed import seal
from support.tones import png, wav, write_tar

from jobs import evaluate, infer, report, train
from jobs._job import Job, main

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
HERTZ = {"red": 300.0, "green": 900.0, "blue": 2000.0}


def samples(count: int, seed: int) -> dict[str, dict[str, bytes]]:
    """A colour, a tone and a sentence that tell the same; some samples lack one of them, or the label."""
    random = np.random.default_rng(seed)
    made = {}
    for index in range(count):
        name = list(COLOURS)[index % 3]
        shade = np.clip(np.array(COLOURS[name]) + random.integers(-20, 20, 3), 0, 255)
        fields = {
            "png": png(tuple(map(int, shade))),
            "wav": wav(HERTZ[name]),
            "txt": f"it is {name}".encode(),
            "cls": name.encode(),
        }
        if index % 6 >= 3:
            del fields[("png", "wav", "cls")[index % 3]]
        made[f"s{index:03d}"] = fields
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model, and one that judges."""
    home = tmp_path_factory.mktemp("vae")
    for split, count, seed in (("train", 60, 0), ("val", 18, 1), ("test", 18, 2)):
        write_tar(home / "data" / f"c-{split}-000000.tar", samples(count, seed))
    for name, objective, epochs in (
        ("made", "{kind: vae, label: cls, latent: 8, width: 32, importance_samples: 2}", 15),
        ("judge", "{kind: classify, label: cls, width: 32}", 8),
    ):
        (home / f"{name}.yaml").write_text(
            f"""
run: {home}/{name}
input:
  train: {home}/data/c-train-*.tar
  val: {home}/data/c-val-*.tar
  test: {home}/data/c-test-*.tar
  max_bad_fraction: 0.5
modalities:
  image: {{fields: [png], size: 16, encoder: {{kind: statistics}}}}
  text: {{max_tokens: 6, vocab_size: 300, encoder: {{kind: transformer}}}}
  audio: {{fields: [wav], sample_rate_hz: 8000, max_seconds: 0.3, num_mels: 20, encoder: {{kind: statistics}}}}
objective: {objective}
train: {{epochs: {epochs}, batch_size: 12, learning_rate: 1e-2, seed: 1, augment: false}}
infer: {{batch_size: 8}}
evaluate: {{num_bootstrap: 20}}
cluster: {{num_cpus: 1, executor: here}}
""",
            encoding="utf-8",
        )
        assert run(train.JOB, home, name) == 0
    return home


def run(job: Job, home: Path, name: str = "made", *words: str) -> int:
    return main(job, [str(home / f"{name}.yaml"), *words])


def rows_of(folder: Path) -> list[Mapping[str, object]]:
    return [
        row
        for path in sorted(folder.glob("part-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_what_is_made_can_be_opened_and_follows_the_seed(home: Path) -> None:
    assert run(infer.JOB, home) == 0
    rows = rows_of(home / "made" / "embeddings")
    assert len(rows) == 18, "a sample without a label is as good as others"
    for row in rows:
        assert Image.open(io.BytesIO(row["generated_image"])).size == (16, 16)
        assert row["generated_audio"][:4] == b"RIFF"
        assert isinstance(row["generated_text"], str)
        assert row["generated_label"] in COLOURS
        assert row["importance_bound"] >= row["elbo"] - 1e-3
    lacking = [row for row in rows if row["nll_image"] is None]
    assert len(lacking) == 3
    again = [f"run={home}/again", f"infer.model={home}/made/model"]
    assert run(infer.JOB, home, "made", *again) == 0
    assert rows_of(home / "again" / "embeddings") == rows
    other = [f"run={home}/other", f"infer.model={home}/made/model", "infer.seed=3"]
    assert run(infer.JOB, home, "made", *other) == 0
    drawn = rows_of(home / "other" / "embeddings")
    assert [row["elbo"] for row in drawn] != [row["elbo"] for row in rows]
    assert [row["generated_image"] for row in drawn] == [row["generated_image"] for row in rows]


def test_a_judge_tells_whether_what_is_made_says_what_it_should(home: Path) -> None:
    assert run(evaluate.JOB, home, "made", f"evaluate.judge={home}/judge/model") == 0
    metrics = json.loads((home / "made" / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["label_accuracy_image+text+audio"] > 0.8
    assert metrics["coherence_image_to_image"] > 0.8
    assert metrics["coherence_target_to_image"] > 0.8
    pairs = {name for name in metrics if name.startswith("joint_coherence_")}
    assert "joint_coherence_all" in pairs
    assert len(pairs) == 7
    record = json.loads((home / "made" / "evaluation" / "metrics.json").read_text())["made"]
    assert record["coherence"]["real"]["image"]["value"] > 0.9
    assert len(record["between"]) == 7
    assert {"image", "text+audio", "", "+target"} <= set(record["examples"][0]["made"])
    told = {example["real"].get("label", {}).get("text") for example in record["examples"]}
    assert told & set(COLOURS), "a sample's own label stands beside those that were made"
    assert run(report.JOB, home) == 0
    page = (home / "made" / "report.html").read_text()
    assert "From one sample to another" in page
    assert "of nothing say the same" in page
    assert "data:audio/wav" in page


def test_without_a_judge_the_page_says_that_nobody_judged(home: Path) -> None:
    words = [f"run={home}/plain", f"infer.model={home}/made/model"]
    assert run(evaluate.JOB, home, "made", *words) == 0
    metrics = json.loads((home / "plain" / "evaluation" / "summary.json").read_text())["metrics"]
    assert not any("coherence" in name for name in metrics)
    assert run(report.JOB, home, "made", *words) == 0
    assert "no model judges what is made" in (home / "plain" / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "judge", "words"),
    [("judge", "judge", "makes no values of modalities"), ("made", "nowhere", "no model bundle")],
)
def test_a_judge_that_cannot_judge_is_refused(
    home: Path, name: str, judge: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(evaluate.JOB, home, name, f"evaluate.judge={home}/{judge}/model") != 0
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("modalities", "objective", "learned", "words"),
    [
        (
            "{picture: {kind: image, size: 16}}",
            "{kind: classify, label: cls, width: 32}",
            {"classes": ["red", "green"]},
            "the judge reads picture, and the model makes image, text, audio",
        ),
        (
            "{image: {fields: [png], size: 16}, other: {kind: image, fields: [jpg], size: 16}}",
            "{kind: contrast, width: 32}",
            {"embeds": ["image", "other"]},
            "trained without a target",
        ),
    ],
)
def test_a_judge_must_read_what_is_made_and_tell_something(
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    modalities: str,
    objective: str,
    learned: dict[str, list[str]],
    words: str,
) -> None:
    config = tmp_path / "judge.yaml"
    config.write_text(f"run: {tmp_path}\nmodalities: {modalities}\nobjective: {objective}\n")
    seal(config, tmp_path / "model", learned, [])
    assert run(evaluate.JOB, home, "made", f"evaluate.judge={tmp_path}/model") != 0
    assert words in capsys.readouterr().err
