"""Clips and their sound tracks through all jobs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from support.clips import encode, picture
from support.tones import write_tar

from jobs import _job, evaluate, infer, init, lint, preprocess, report, train

FORMS = ("mp4", "mkv", "webm", "avi")
SPLITS = {"train": 30, "val": 6, "test": 10}


def write_clips(folder: Path) -> None:
    """Clips of two classes, which move to the right and to the left; some have a sound, and one is cut."""
    for split, count in SPLITS.items():
        samples: dict[str, dict[str, bytes]] = {}
        for number in range(count):
            right = number % 2 == 0
            form = FORMS[number % len(FORMS)]
            places = [number + 3 * index for index in range(9)]
            pictures = [picture(place, 32, 32) for place in places]
            tone = (300.0 if right else 1800.0) if number % 3 else None
            data = encode(pictures if right else pictures[::-1], form, tone_hz=tone)
            if (split, number) == ("train", 5):
                data = data[: len(data) // 2]
            samples[f"s{number:03d}"] = {form: data, "cls": b"right" if right else b"left"}
        write_tar(folder / f"films-{split}-000000.tar", samples)


def run(job: _job.Job, config: Path, *overrides: str) -> int:
    return _job.main(job, [str(config), *overrides])


@pytest.mark.timeout(300)
def test_from_shards_to_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clips(tmp_path / "data")
    path, home = tmp_path / "films.yaml", tmp_path / "run"
    assert init.main([str(tmp_path / "data"), "--to", str(path)]) == 0
    tree = yaml.safe_load(path.read_text())
    assert tree["modalities"] == {
        "audio": {"fields": list(FORMS), "max_seconds": 0.9},
        "video": {"fields": list(FORMS), "size": 32},
    }
    tree["run"] = str(home)
    tree["modalities"]["video"] |= {"size": 16, "frames": 3, "candidates": 2}
    sounds = {"fields": list(FORMS), "sample_rate_hz": 8000, "max_seconds": 0.5, "num_mels": 16}
    tree["modalities"]["audio"] = sounds
    tree["objective"] |= {"width": 32, "fusion": {"kind": "concat"}}
    tree["train"] = {"epochs": 4, "batch_size": 10, "learning_rate": 3e-3, "seed": 1}
    tree["cluster"] = {"num_cpus": 1, "executor": "here"}
    tree["evaluate"] = {"num_bootstrap": 20}
    path.write_text(yaml.safe_dump(tree), "utf-8")

    capsys.readouterr()
    run(lint.JOB, path, "--json")
    total = json.loads(capsys.readouterr().out)["report"]["total"]
    assert total["bad"] == {"bad_video": 1}
    assert total["media"]["video"]["width"]["median"] == 32
    assert total["media"]["video"]["sound"] == {"no": 16, "yes": 30}
    assert total["modalities"] == {"audio+video": 30, "video": 16}
    assert total["media"]["audio"]["formats"] == total["media"]["video"]["formats"]

    assert run(preprocess.JOB, path) == 0
    rows = [
        row
        for file in sorted((home / "decoded").glob("part-*.parquet"))
        for row in pq.read_table(file).to_pylist()
    ]
    assert len(rows) == SPLITS["train"] - 1
    present = {row["key"]: row["modalities"] for row in rows}
    assert present["s000"] == ["video"], "a film without sound"
    assert present["s001"] == ["audio", "video"]
    schema = pq.read_schema(next((home / "decoded").glob("part-*.parquet")))
    assert schema.field("video").metadata[b"shape"] == b"6,16,16,3"
    assert np.array(rows[0]["video"]).reshape(6, 16, 16, 3).any(axis=(1, 2, 3)).all()
    statistics = json.loads((home / "decoded" / "stats.json").read_text())["modalities"]["video"]
    assert statistics["frames"]["min"] == 6

    assert run(train.JOB, path) == 0
    assert run(infer.JOB, path) == 0
    assert run(evaluate.JOB, path) == 0
    metrics = json.loads((home / "evaluation" / "summary.json").read_text())["metrics"]
    assert {"accuracy", "accuracy_video", "accuracy_audio"} <= metrics.keys()
    assert metrics["accuracy_audio"] >= 0.75, "the tone tells"

    assert run(report.JOB, path) == 0
    page = (home / "report.html").read_text()
    assert page.count('src="data:video/webm;base64,') >= 3, "players"
    assert "Frames of film of sample" in page
