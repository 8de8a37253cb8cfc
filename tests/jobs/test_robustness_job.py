"""A model judged on corrupted samples and on slices of them, against predictions sample by sample."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.sealed import seal
from support.tones import CLASSES

from jobs import evaluate
from pipeline.config import load
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.infer.predictors import model_spec
from pipeline.engine.plans.examples import parts_of
from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.batch import chance_column
from pipeline.prediction.bundle import BundlePredictor
from pipeline.prediction.corrupted import MISSING, cases

ASKED = (
    "evaluate.robustness.corruptions=[noise, drop, missing]",
    "evaluate.slices=[json.who.label]",
)


@pytest.fixture
def config(tone_config: Path, tmp_path: Path) -> Path:
    """A network that nobody trained, of images and texts."""
    lines = [line for line in tone_config.read_text().splitlines() if "audio:" not in line]
    path = tmp_path / "two.yaml"
    path.write_text("\n".join(lines))
    seal(path, tmp_path / "run" / "model", CLASSES, ["a high tone", "a low tone"])
    return path


def metrics(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "evaluation" / "metrics.json").read_text()))


def decoded(config: Path) -> tuple[BundlePredictor, pa.Table]:
    """The model, and the good samples of the test split."""
    settings = load(config)
    predictor = BundlePredictor(replace(model_spec(settings), batch_size=1))
    decoder = Decoder.build(predictor.modalities, predictor_tokenizer(config))
    assert settings.objective is not None
    decoder = Decoder(
        decoder.codecs, decoder.fields, target=settings.objective.targets({"classes": [*CLASSES]})
    )
    parts = parts_of(settings.input.test or "", "input.test")
    table = pa.concat_tables([decode_part(part, decoder) for part in parts])
    return predictor, table.filter(table["error"].is_null())


def predictor_tokenizer(config: Path) -> str:
    return (config.parent / "run" / "model" / "tokenizer.json").read_text()


def test_each_row_is_what_sample_by_sample_comes_to(config: Path, tmp_path: Path) -> None:
    assert evaluate.main([str(config), *ASKED]) == 0
    written = metrics(tmp_path / "run")
    table = {
        (row["modality"], row["corruption"], row["severity"]): row for row in written["robustness"]
    }
    predictor, samples = decoded(config)
    has = {
        name: np.array([name in row for row in samples["modalities"].to_pylist()])
        for name in predictor.codecs
    }
    labels = samples["label"].to_pylist()
    kept = pq.read_table(tmp_path / "run" / "evaluation" / "predictions.parquet")
    found = cases(predictor.modalities, predictor.codecs, ("noise", "drop", "missing"))
    assert {(case.corrupted.modality, case.corrupted.corruption) for case in found} == {
        ("image", "noise"), ("image", MISSING), ("text", "drop"), ("text", MISSING),
    }  # fmt: skip
    for case in found:
        what = case.corrupted
        if case.severity not in (0.25, 0.5, 0.4):  # one or two of each way
            continue
        rows = np.flatnonzero(has[what.modality])
        if what.corruption == MISSING:
            rows = np.flatnonzero(has["image"] & has["text"])
        right = []
        for row in rows:
            alone = samples.slice(row, 1)
            said = predictor.rows(alone, change=lambda b, r: case(b, chance_column(r, 0, 0)))  # noqa: B023
            right.append(said["prediction"][0].as_py() == labels[row])
        column = kept[f"robustness.{case.name}"].to_pylist()
        expected_by_row = dict(zip(rows.tolist(), right, strict=True))
        assert column == [expected_by_row.get(row) for row in range(len(labels))], what
        row_written = table[what.modality, what.corruption, what.severity]
        assert row_written["num_samples"] == len(rows)
        assert row_written["accuracy"] == pytest.approx(np.mean(right)), what
        low, high = row_written["intervals"]["accuracy"]
        assert low <= row_written["accuracy"] <= high
    for name, other in (("image", "text"), ("text", "image")):
        clean = table[name, MISSING, None]
        both = has["image"] & has["text"]
        said = predictor.rows(samples)["prediction"].to_pylist()
        assert clean["accuracy"] == pytest.approx(
            np.mean([said[row] == labels[row] for row in np.flatnonzero(both)])
        )
        gone = predictor.rows(samples, [other])["prediction"].to_pylist()
        assert table[name, MISSING, 1.0]["accuracy"] == pytest.approx(
            np.mean([gone[row] == labels[row] for row in np.flatnonzero(both)])
        )

    check_slices(tmp_path)


def check_slices(tmp_path: Path) -> None:
    """They are judged by themselves, and kept beside the predictions."""
    rows = pq.read_table(tmp_path / "run" / "evaluation" / "predictions.parquet").to_pylist()
    slices = metrics(tmp_path / "run")["slices"]
    assert [row["value"] for row in slices] == [*CLASSES]
    for row in slices:
        own = [each for each in rows if each["meta.json.who.label"] == row["value"]]
        assert row["num_samples"] == len(own)
        right = [each["prediction"] == each["label"] for each in own]
        assert row["accuracy"] == pytest.approx(np.mean(right))
    record = EvaluationRecord.from_json(metrics(tmp_path / "run"))
    assert record.slices is not None
    assert record.robustness is not None


@pytest.mark.usefixtures("local_ray")
def test_ray_finds_the_same(config: Path, tmp_path: Path) -> None:
    records, predictions = [], []
    for executor in ("here", "ray"):
        assert evaluate.main([str(config), *ASKED, f"cluster.executor={executor}"]) == 0
        records.append(metrics(tmp_path / "run"))
        predictions.append(pq.read_table(tmp_path / "run" / "evaluation" / "predictions.parquet"))
    assert records[0] == records[1]
    assert predictions[0].equals(predictions[1])


def test_some_samples_are_enough_and_nothing_is_corrupted_unless_asked(
    config: Path, tmp_path: Path
) -> None:
    few = "evaluate.robustness.max_samples=20"
    assert evaluate.main([str(config), "evaluate.robustness.corruptions=all", few]) == 0
    table = metrics(tmp_path / "run")["robustness"]
    assert {"noise", "blur", "cut", "drop", "missing"} == {row["corruption"] for row in table}
    assert all(10 < row["num_samples"] <= 20 for row in table), "of 48"
    assert evaluate.main([str(config)]) == 0
    assert {"robustness", "slices"}.isdisjoint(metrics(tmp_path / "run"))


def test_what_cannot_be_done_is_refused_before_anything_is_predicted(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([str(config), "evaluate.robustness.corruptions=[fog]"]) == 2
    error = capsys.readouterr().err
    assert "no modality of the model knows the corruption fog" in error
    assert "choose of noise, blur, cut, missing, drop, or all" in error
    assert evaluate.main([str(config), "evaluate.slices=[jsn.lang]"]) == 2
    assert "has a field that jsn.lang could be in" in capsys.readouterr().err


def test_a_case_leaves_its_batch_as_it_is(config: Path) -> None:
    predictor, _ = decoded(config)
    batch = {
        "image": torch.full((3, 16, 16, 3), 90, dtype=torch.uint8),
        "image_present": torch.ones(3, dtype=torch.bool),
    }
    before = {name: values.clone() for name, values in batch.items()}
    found = cases(predictor.modalities, predictor.codecs, ("noise", "missing"))
    seeds = torch.tensor([3, 4, 5])
    for case in (each for each in found if each.corrupted.modality == "image"):
        changed = case(batch, seeds)
        assert all(torch.equal(batch[name], before[name]) for name in batch)
        assert not all(torch.equal(changed[name], before[name]) for name in batch) or (
            case.severity < 1.0
        )
