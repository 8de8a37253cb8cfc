"""A shared space end to end: shards, training without labels, inference, search, evaluation by texts, and the page."""

import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.tones import wav, write_tar

from jobs import evaluate, infer, report, search, train
from jobs._job import Job, main
from pipeline.config import load
from pipeline.engine.evaluating.training_split import training_split
from pipeline.models.bundle import Bundle

FLAGS = ("striped", "dotted", "crossed", "plain")
TONES_HZ = {"low": 250.0, "middle": 700.0, "high": 1900.0}


def picture(index: int) -> bytes:
    """One of four patterns, a little different each time."""
    base = np.random.default_rng(index % 4).integers(0, 256, (8, 8, 3))
    noise = np.random.default_rng(100 + index).integers(-20, 20, (8, 8, 3))
    data = io.BytesIO()
    Image.fromarray((base + noise).clip(0, 255).astype(np.uint8)).save(data, "PNG")
    return data.getvalue()


def samples(count: int, first: int = 0) -> dict[str, dict[str, bytes]]:
    """A flag and a tone, and a text that names both; some samples lack one of the three."""
    made = {}
    for index in range(first, first + count):
        flag, tone = FLAGS[index % 4], list(TONES_HZ)[index % 3]
        fields = {
            "png": picture(index),
            "wav": wav(TONES_HZ[tone] * (1 + index / 900)),
            "txt": f"{flag} with a {tone} tone".encode(),
            "json": json.dumps({"flag": flag}).encode(),
        }
        if index % 9 == 4:
            del fields[("png", "wav", "txt")[index % 3]]
        made[f"s{index:04d}"] = fields
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tar(folder / "c-train-000000.tar", samples(72))
    write_tar(folder / "c-val-000000.tar", samples(24, 72))
    write_tar(folder / "c-test-000000.tar", samples(24, 96))
    return folder


@pytest.fixture
def config(tmp_path: Path, data: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input:
  train: {data}/c-train-*.tar
  val: {data}/c-val-*.tar
  test: {data}/c-test-*.tar
modalities:
  image: {{fields: [png], size: 8, encoder: {{kind: statistics, layers: 0, dropout: 0}}}}
  text: {{fields: [txt], max_tokens: 8, vocab_size: 300}}
  audio:
    fields: [wav]
    sample_rate_hz: 8000
    max_seconds: 0.3
    num_mels: 20
    encoder: {{kind: statistics, layers: 0, dropout: 0}}
objective: {{kind: contrast, width: 32, dropout: 0}}
train: {{epochs: 10, batch_size: 24, learning_rate: 1e-2, seed: 1, augment: false}}
evaluate: {{num_bootstrap: 50}}
report: {{num_examples: 4}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    return path


def run(job: Job, path: Path, *words: str) -> int:
    return main(job, [str(path), *words])


def metrics_of(home: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((home / "evaluation" / "summary.json").read_text())[
        "metrics"
    ]
    return found


def test_a_space_without_labels_from_shards_to_a_search(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    assert run(train.JOB, config) == 0
    bundle = json.loads((home / "model" / "bundle.json").read_text())
    assert bundle["learned"] == {"embeds": ["image", "text", "audio"]}
    history = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    kept = bundle["training"]["kept"]
    assert kept["chosen_by"] == "val_mean_average_precision"
    scores = [row["val_mean_average_precision"] for row in history]
    assert scores[kept["epoch"] - 1] == max(scores) > scores[0]

    assert run(infer.JOB, config) == 0
    [path] = (home / "embeddings").glob("part-*.parquet")
    table = pq.read_table(path)
    names = ["embedding", "image_embedding", "text_embedding", "audio_embedding"]
    assert table.column_names[3:] == names
    rows = {row["key"]: row for row in table.to_pylist()}
    for row in rows.values():
        own = [row[name] for name in names[1:] if row[name] is not None]
        assert [name.split("_")[0] for name in names[1:] if row[name]] == row["modalities"]
        assert np.linalg.norm(own, axis=1) == pytest.approx(1, abs=1e-5)
        total = np.sum(own, axis=0)
        assert row["embedding"] == pytest.approx(total / np.linalg.norm(total), abs=1e-5)

    text = "crossed with a high tone"
    capsys.readouterr()
    words = [str(config), "--text", text, "--in", "image", "--top", "5", "--json"]
    assert search.main(words) == 0
    found = json.loads(capsys.readouterr().out)["report"]
    assert found["column"] == "image_embedding"
    flags = [int(row["key"][1:]) % 4 for row in found["neighbours"]]
    assert flags.count(2) >= 3, "of all, a quarter is crossed"

    assert run(evaluate.JOB, config) == 0
    numbers = metrics_of(home)
    directions = [
        f"{a}_to_{b}"
        for a in ("image", "text", "audio")
        for b in ("image", "text", "audio")
        if a != b
    ]
    assert {f"recall_at_10_{name}" for name in directions} <= set(numbers)
    assert {f"median_rank_{name}" for name in directions} <= set(numbers)
    assert not any("accuracy" in name for name in numbers), "without labels there is none"
    assert numbers["recall_at_5"] > 1.5 * numbers["recall_at_5_by_chance"]
    judged = pq.read_table(home / "evaluation" / "predictions.parquet").to_pylist()
    for row in judged:
        for name in names[1:]:
            assert (row[name] is None) == (rows[row["key"]][name] is None)
            assert row[name] is None or row[name] == pytest.approx(rows[row["key"]][name], abs=1e-5)

    assert run(report.JOB, config) == 0
    page = (home / "report.html").read_text()
    for words_of_page in ("Retrieval by direction", "Map of the space", "Gaps between modalities"):
        assert words_of_page in page
    for name in directions:
        asks, _, finds = name.partition("_to_")
        assert f"{asks} finds {finds}" in page


def test_labels_and_texts_judge_it_and_groups_are_one(
    config: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    of_flags = ["objective.label=json.flag", "objective.group=json.flag"]
    assert run(train.JOB, config, *of_flags, "modalities.audio=null") == 0
    prompts = ", ".join(f"{name}: [{name}, very {name}]" for name in FLAGS)
    by_texts = [
        *of_flags,
        "modalities.audio=null",
        f"evaluate.prompts={{{prompts}}}",
        "evaluate.templates=['{} with a low tone', '{} with a high tone']",
    ]
    assert run(evaluate.JOB, config, *by_texts) == 0
    numbers = metrics_of(home)
    assert numbers["zero_shot_accuracy_image"] > 0.6, "a quarter by chance"
    assert numbers["knn_accuracy_image"] > 0.6
    assert numbers["linear_probe_accuracy_all"] > 0.6
    assert numbers["recall_at_1_image_to_text"] > 0.6, "of each flag, any"
    details = json.loads((home / "evaluation" / "metrics.json").read_text())
    assert details["zero_shot"]["image"]["num_classes"] == 4
    with_image = sum("png" in fields for fields in samples(72).values())
    assert details["probes"]["image"]["fitted_on"] == "train"
    assert details["probes"]["image"]["num_fitted"] == with_image
    assert run(report.JOB, config, *by_texts) == 0
    page = (home / "report.html").read_text()
    assert "Classes by texts" in page
    assert "Labels by neighbours" in page
    assert f"{with_image} of train" in page
    gone = ["input.train=nowhere/*.tar", "evaluate.num_bootstrap=0"]
    assert run(evaluate.JOB, config, *by_texts, *gone) == 0
    details = json.loads((home / "evaluation" / "metrics.json").read_text())
    assert details["probes"]["image"]["fitted_on"] == "folds", "the training split cannot be read"
    assert "cannot be read" in capsys.readouterr().err
    bundle = Bundle.load(str(home / "model"))
    seen = [f"input.train={data}/c-val-*.tar", f"evaluate.input={data}/c-train-*.tar"]
    others = [f"input.train={data}/c-val-*.tar", "evaluate.input=train"]
    for words in (["evaluate.input=train"], seen, others):
        asked = partial(pytest.fail, "probes are never fitted on what is judged")
        split = training_split(load(config, words), bundle, asked, asked, "")
        assert split is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["modalities.text=null", "modalities.audio=null"], "objective.kind"),
        (["modalities.text=null", "evaluate.prompts={a: b}"], "evaluate.prompts"),
        (["objective.hub=video"], "objective.hub"),
        (["evaluate.prompts={a: []}"], "prompts"),
        (["evaluate.prompts={a: b}", "evaluate.templates=[a photo]"], "templates"),
        (["objective.label=json.nothing"], "objective.label=json.nothing"),
    ],
)
def test_what_does_not_fit_ends_it_with_the_setting(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert run(train.JOB, config, *words) == 2
    assert told in capsys.readouterr().err
