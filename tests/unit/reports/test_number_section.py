"""What estimated numbers put on the page: no page knows that they are numbers."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from page_reader import PageReader, structural_problems

from pipeline.objectives.base import Judging
from pipeline.objectives.regress import RegressConfig
from pipeline.reports.content import Example, ReportData, SplitCounts
from pipeline.reports.page import number, render

SUBSETS = {"image": 3.0, "text": 9.0, "image+text": 1.0}


def report_data(places: tuple[str, ...] = ("json.age",), constant: bool = False) -> ReportData:
    objective = RegressConfig(target=list(places) if len(places) > 1 else places[0])
    random = np.random.default_rng(0)
    targets = random.normal(40, 12, (60, len(places)))
    if constant:
        targets[:] = 40.0
    judging = Judging("test", 0, 100)
    learned = {"mean": [40.0] * len(places), "deviation": [12.0] * len(places)}
    evaluation = objective.evaluation(learned, judging)
    arrays = {
        name: {
            "prediction": (targets + random.normal(0, noise, targets.shape)).astype(np.float32),
            "embedding": np.zeros((60, 64), np.float32),
        }
        for name, noise in SUBSETS.items()
    }
    rows = {name: objective.rows(each, learned) for name, each in arrays.items()}
    texts = [json.dumps(row.tolist()) for row in targets]
    present = {name: np.ones(60, bool) for name in ("image", "text")}
    evaluation.update(texts, rows, present)
    predicted = pa.table(
        {
            "key": [f"k{row}" for row in range(60)],
            "shard": ["x.tar"] * 60,
            "label": objective.truth(pa.array(texts)),
            "prediction": rows["image+text"]["prediction"],
        }
    )
    section, metrics = objective.section(), evaluation.compute()
    judgements = section.choose(predicted, metrics, 4)
    examples = [
        Example(each.key, each.shard, "test", each.label, prediction=each.prediction)
        for each in judgements
    ]
    counted = dict.fromkeys(texts, 1)
    return ReportData(
        "numbers",
        "now",
        splits={"test": SplitCounts(60, counted, {"image": 60})},
        examples=examples,
        history=[
            {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 1.2 / epoch, "val_mae": 9 / epoch}
            for epoch in (1, 2, 3)
        ],
        section=section,
        evaluation=metrics,
        predicted=predicted,
    )


def words(data: ReportData) -> str:
    page = render(data)
    assert structural_problems(page) == []
    return re.sub(r"[ \n]+", " ", PageReader(page).text)


def test_the_page_tells_errors_and_what_each_modality_gives() -> None:
    data = report_data()
    text = words(data)
    overall, subsets = data.evaluation.overall.metrics, data.evaluation.subsets
    assert f"The model is off by {number(overall['mae'])} on average over 60 test samples" in text
    assert f"is off by {number(overall['mae_of_mean'])}" in text
    gain = subsets["image"].difference
    assert f"{number(gain)} nearer than the best single modality (image" in text
    for name in ("mae", "rmse", "r2", "spearman"):
        assert number(overall[name]) in text
    page = render(data)
    for title in (
        "Predictions and targets",
        "Residuals",
        "Targets: json.age",
        "Mean absolute error by modality",
    ):
        assert title in page
    assert "accuracy" not in page.lower()


def test_the_largest_errors_come_first() -> None:
    data = report_data()
    rows = data.predicted.to_pylist()
    errors = {row["key"]: abs(row["prediction"] - row["label"]) for row in rows}
    worst = sorted(errors, key=lambda key: -errors[key])[:4]
    text = words(data)
    assert [example.key for example in data.examples[:4]] == worst
    assert text.index(worst[0]) < text.index(worst[1]) < text.index(worst[2])
    assert "right" not in text
    assert "wrong" not in text


def test_several_numbers_have_a_row_each() -> None:
    text = words(report_data(("json.age", "json.height")))
    assert "Mean of json.height" in text
    assert "By target" in text


def test_what_is_undefined_is_said() -> None:
    assert "R² is not defined: all targets are equal" in words(report_data(constant=True))


@pytest.mark.parametrize("kept", [None, {"epoch": 3, "of": 3, "chosen_by": "val_mae"}])
def test_a_run_that_only_trained_shows_its_lowest_error(kept: dict | None) -> None:
    data = replace(report_data(), evaluation=None, predicted=None, examples=(), kept=kept)
    text = words(data)
    assert f"Validation mean absolute error {number(3.0)} kept epoch 3 of 3" in text
