"""Two images and a text under names of the configuration, through the jobs: columns, subsets and pages use them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.sealed import seal
from support.tones import png, write_tar

from jobs import evaluate, infer, lint, preprocess, report, train
from jobs._job import main
from pipeline.models.bundle import Bundle

COLOURS = {"r": (220, 40, 40), "b": (40, 40, 220)}
NAMES = ("left", "right", "note")
CLASSES = ("bb", "br", "rb", "rr")


def samples(count: int, seed: int) -> dict[str, dict[str, bytes]]:
    """The pair of colours is the class, so that neither image alone tells it."""
    rng = np.random.default_rng(seed)
    made = {}
    for index in range(count):
        left, right = rng.choice(list(COLOURS), 2)
        made[f"s{index:04d}"] = {
            "left.png": shaded(left, rng),
            "right.png": shaded(right, rng),
            "txt": f"note {rng.integers(10)}".encode(),
            "cls": f"{left}{right}".encode(),
        }
    del made["s0003"]["left.png"]
    made["s0005"]["right.png"] = b"broken"
    return made


def shaded(name: str, rng: np.random.Generator) -> bytes:
    red, green, blue = (int(v) for v in np.clip(COLOURS[name] + rng.integers(-30, 30, 3), 0, 255))
    return png((red, green, blue))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for index, (name, count) in enumerate((("train", 120), ("val", 40), ("test", 60))):
        write_tar(folder / f"{name}.tar", samples(count, index))
    settings = {
        "run": str(folder / "run"),
        "input": {name: str(folder / f"{name}.tar") for name in ("train", "val", "test")},
        "modalities": {
            "right": {"kind": "image", "fields": ["right.png"], "size": 16},
            "left": {"kind": "image", "fields": ["left.png"], "size": 16, "max_megapixels": 0.3},
            "note": {"kind": "text", "fields": ["txt"], "max_tokens": 8, "vocab_size": 280},
        },
        "objective": {"kind": "classify", "label": "cls", "width": 32},
        "train": {"epochs": 6, "batch_size": 16, "learning_rate": 3e-3, "seed": 1},
        "evaluate": {"num_bootstrap": 10},
        "report": {"num_examples": 4},
        "cluster": {"num_cpus": 1},
    }
    path = folder / "pairs.json"
    path.write_text(json.dumps(settings))
    return path


def test_two_images_in_one_sample_go_through_the_jobs_that_need_no_training(config: Path) -> None:
    run, here = config.parent / "run", "cluster.executor=here"
    assert main(lint.JOB, [str(config)]) == 0
    survey = json.loads((run / "lint" / "lint.json").read_text())
    assert set(NAMES) <= set(json.dumps(survey).replace('"', " ").split())
    assert main(preprocess.JOB, [str(config), here]) == 0
    [file] = (run / "decoded").glob("part-*.parquet")
    table = pq.read_table(file)
    assert set(NAMES) <= set(table.schema.names)
    assert set(table["modalities"].to_pylist()[0]) == set(NAMES)
    assert "setting" in pq.read_schema(next((run / "decoded" / "_quarantine").glob("*"))).names
    statistics = json.loads((run / "decoded" / "stats.json").read_text())["modalities"]
    assert statistics["left"]["missing"] == 1
    assert statistics["left"]["mean"] != statistics["right"]["mean"]
    seal(config, run / "model", CLASSES, ["note 1"])
    assert main(infer.JOB, [str(config), here]) == 0
    assert main(evaluate.JOB, [str(config), here]) == 0
    metrics = json.loads((run / "evaluation" / "summary.json").read_text())["metrics"]
    subsets = ("left", "right", "note", "left+right", "left+note", "right+note")
    assert {f"accuracy_{subset}" for subset in subsets} <= set(metrics)
    assert main(report.JOB, [str(config)]) == 0
    page = (run / "report.html").read_text()
    assert all(f'alt="Image {name} of sample' in page for name in ("left", "right"))


@pytest.mark.usefixtures("local_ray")
def test_a_model_of_two_images_learns_what_neither_tells_alone(config: Path) -> None:
    run = config.parent / "trained"
    overrides = [f"run={run}", "cluster.executor=auto"]
    assert main(train.JOB, [str(config), *overrides]) == 0
    bundle = Bundle.load(str(run / "model"))
    assert bundle.modalities.decoding()["left"]["kind"] == "image"
    assert main(evaluate.JOB, [str(config), *overrides]) == 0
    metrics = json.loads((run / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["accuracy_left+right"] > 0.9
    assert max(metrics["accuracy_left"], metrics["accuracy_right"]) < 0.75
