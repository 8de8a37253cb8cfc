"""Made values end to end: shards, training, inference, a kill, evaluation and the page."""

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

COLOURS = {"red": (220, 30, 30), "blue": (30, 40, 220)}
HERTZ = {"red": 400.0, "blue": 1800.0}


def samples(count: int, seed: int) -> dict[str, dict[str, bytes]]:
    """A colour, a tone that gives it away, and its name; some are dark, and some samples lack a modality."""
    random = np.random.default_rng(seed)
    made = {}
    for index in range(count):
        name = list(COLOURS)[index % 2]
        dark = index % 6 == 5
        shade = np.clip(
            np.array(COLOURS[name]) // (4 if dark else 1) + random.integers(0, 20, 3), 0, 255
        )
        fields = {"png": png(tuple(map(int, shade))), "wav": wav(HERTZ[name])}
        if index % 8 == 6:
            del fields["png" if index % 16 == 6 else "wav"]
        about = {"colour": name, "tags": ["dark"] if dark else []}
        made[f"s{index:03d}"] = {**fields, "json": json.dumps(about).encode()}
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model."""
    home = tmp_path_factory.mktemp("made")
    odd = samples(48, 0)
    odd["s003"]["json"] = b'{"colour": {}}'
    odd["s009"]["json"] = b"{}"
    write_tar(home / "data" / "c-train-000000.tar", odd)
    write_tar(home / "data" / "c-val-000000.tar", samples(24, 2))
    for shard in range(3):
        write_tar(home / "data" / f"c-test-{shard:06d}.tar", samples(16, 3 + shard))
    (home / "made.yaml").write_text(
        f"""
run: {home}/run
input:
  train: {home}/data/c-train-*.tar
  val: {home}/data/c-val-*.tar
  test: {home}/data/c-test-*.tar
modalities:
  image: {{fields: [png], size: 8}}
  audio: {{fields: [wav], sample_rate_hz: 8000, max_seconds: 0.3, num_mels: 20, encoder: {{kind: statistics}}}}
objective:
  kind: gan
  width: 32
  channels: 8
  generates: image
  label: [json.colour, json.tags]
  ask: {{json.tags: []}}
  augment: []
train: {{epochs: 24, batch_size: 16, learning_rate: 1e-2, schedule: constant, weight_decay: 0, max_gradient_norm: 100,
  average_decay: 0.9, seed: 1, augment: false}}
infer: {{batch_size: 8}}
evaluate: {{num_bootstrap: 20}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    assert run(train.JOB, home) == 0
    return home


def run(job: Job, home: Path, *words: str) -> int:
    return main(job, [str(home / "made.yaml"), *words])


def rows_of(folder: Path) -> list[Mapping[str, object]]:
    return [
        row
        for path in sorted(folder.glob("part-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def mean_of(cell: bytes) -> np.ndarray:
    from io import BytesIO

    from PIL import Image

    mean: np.ndarray = np.asarray(Image.open(BytesIO(cell))).mean(axis=(0, 1))
    return mean


def test_values_are_as_asked_from_inference_to_a_report(home: Path) -> None:
    history = [
        json.loads(line) for line in (home / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert {"val_frechet_distance", "train_generator_loss", "train_right"} <= history[-1].keys()
    bundle = json.loads((home / "run" / "model" / "bundle.json").read_text())
    assert bundle["learned"]["values"] == {"json.colour": ["blue", "red"], "json.tags": ["dark"]}
    assert bundle["training"]["kept"]["chosen_by"] == "val_frechet_distance"
    quarantined = [
        row["key"]
        for path in (home / "run" / "_quarantine").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert quarantined == ["s003"], "a sample without a label is as good as others"
    assert run(infer.JOB, home) == 0
    rows = rows_of(home / "run" / "embeddings")
    assert len(rows) == 48
    for row in rows:
        asked = json.loads(str(row["asked"]))
        assert asked["json.tags"] == []
        red, _, blue = mean_of(row["generated_image"])  # type: ignore[arg-type]
        assert (red > blue) == (asked["json.colour"] == ["red"]), (red, blue, asked)
    judge = ["modalities={image: {fields: [png], size: 8}}", f"run={home}/judge"]
    judge += ["objective={kind: classify, label: json.colour}", "input.max_bad_fraction=1"]
    assert run(train.JOB, home, *judge, "train.weight_decay=0.01", "train.epochs=10") == 0
    assert run(evaluate.JOB, home, f"evaluate.judge={home}/judge/model") == 0
    metrics = json.loads((home / "run" / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["coherence_image+audio_to_image"] > 0.9
    assert "coherence_target_to_image" in metrics, "of the label alone"
    assert metrics["classes_covered"] == 1.0
    assert {"judge_precision", "judge_recall_of_real", "judge_diversity"} <= set(metrics)
    assert {"frechet_distance", "frechet_distance_audio", "precision", "recall_of_real"} <= set(
        metrics
    )
    assert run(report.JOB, home) == 0
    page = (home / "run" / "report.html").read_text()
    assert "Made values, by what was asked for" in page
    assert "How near made values are to real ones" in page
    assert "by the judge&#39;s" in page
    assert "Whether what is made says what it should" in page
    assert page.count('<img src="data:image/png') >= 16


def test_what_is_drawn_is_the_seeds_in_any_batch_and_after_a_kill(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = InferenceJob(home / "made.yaml", home / "killed", home / "killed.log")
    try:
        job.strike("driver", Point(1, 0.0), np.random.default_rng(0))
        assert job.wait() == -9, job.said()
    finally:
        job.end()
    assert run(infer.JOB, home, f"infer.output={home}/killed") == 0
    assert json.loads((home / "killed" / "summary.json").read_text())["parts_skipped"] > 0
    assert run(infer.JOB, home, f"infer.output={home}/whole") == 0
    whole = {path.name: path.read_bytes() for path in (home / "whole").glob("part-*.parquet")}
    assert whole == {
        path.name: path.read_bytes() for path in (home / "killed").glob("part-*.parquet")
    }
    assert run(infer.JOB, home, f"infer.output={home}/small", "infer.batch_size=5") == 0
    images = [
        [row["generated_image"] for row in rows_of(home / name)] for name in ("whole", "small")
    ]
    assert images[0] == images[1]
    assert run(infer.JOB, home, f"infer.output={home}/other", "infer.seed=1") == 0
    assert images[0] != [row["generated_image"] for row in rows_of(home / "other")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["objective.generates=sound"], "there is no modality sound"),
        (["objective.ask={json.tags: bright}"], "no sample is 'bright' at json.tags"),
        (["objective.label=json.nothing", "objective.ask={}"], "has anything at json.nothing"),
        (["objective.fusion.kind=mean"], "joins the answers of modalities"),
        (["train.learning_rate=1e30", "train.epochs=2"], " first: the training has diverged"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    capsys.readouterr()
    assert run(train.JOB, home, f"run={home}/refused", *words) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "Error" in line]
    assert told in line
