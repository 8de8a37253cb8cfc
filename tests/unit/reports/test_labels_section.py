"""What several labels put on the page: no page knows that there are several."""

import json
import re

import numpy as np
import pyarrow as pa
from page_reader import PageReader, structural_problems

from pipeline.objectives.base import Judging
from pipeline.objectives.multi_label import MultiLabelConfig
from pipeline.reports.content import Example, ReportData, SplitCounts
from pipeline.reports.page import number, percent, render
from pipeline.reports.plots import label_balance

CLASSES = ("cat", "dog", "emu <b>")
LEARNED = {"classes": list(CLASSES), "thresholds": [0.5, 0.4, 0.6]}
SUBSETS = {"image": 0.5, "text": 0.9, "image+text": 0.45}


def report_data(absent: bool = False, frequency: float = 1.0) -> ReportData:
    objective = MultiLabelConfig()
    random = np.random.default_rng(0)
    labels = random.random((60, 3)) / frequency < (0.5, 0.3, 0.0 if absent else 0.2)
    texts = [
        json.dumps([name for name, has in zip(CLASSES, row, strict=True) if has]) for row in labels
    ]
    rows = {}
    for subset, noise in SUBSETS.items():
        values = np.clip(labels + random.normal(0, noise, labels.shape), 0, 1).astype(np.float32)
        arrays = {"probabilities": values, "embedding": np.zeros((60, 64), np.float32)}
        rows[subset] = objective.rows(arrays, LEARNED)
    evaluation = objective.evaluation(LEARNED, Judging("test", 0, 100))
    present = {name: np.ones(60, bool) for name in ("image", "text")}
    evaluation.update(texts, rows, present)
    names = {"key": [f"k{row}" for row in range(60)], "shard": ["x.tar"] * 60}
    columns = {name: rows["image+text"][name] for name in ("prediction", "score", "probabilities")}
    predicted = pa.table({**names, "label": objective.truth(pa.array(texts)), **columns})
    section, metrics = objective.section(), evaluation.compute()
    examples = [
        Example(one.key, one.shard, "test", one.label, prediction=one.prediction, score=one.score)
        for one in section.choose(predicted, metrics, 4)
    ]
    counted = {text: texts.count(text) for text in texts}
    return ReportData(
        "labels",
        "now",
        splits={"test": SplitCounts(60, counted, {"image": 60})},
        examples=examples,
        history=[
            {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 1.2 / epoch, "val_f1_micro": 0.5}
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


def test_the_page_tells_precision_and_what_each_modality_gives() -> None:
    data = report_data()
    text = words(data)
    overall = data.evaluation.overall.metrics
    precision = number(overall["mean_average_precision"])
    assert f"The mean average precision of the classes is {precision} on 60 test samples" in text
    assert f"of which {percent(overall['subset_accuracy'])} have exactly the labels" in text
    for name in ("mean_average_precision", "f1_micro", "f1_macro", "hamming_loss"):
        assert number(overall[name]) in text
    for threshold in LEARNED["thresholds"]:
        assert number(threshold) in text
    page = render(data)
    assert "Average precision of each class" in page
    assert "Precision and recall" in page
    assert "emu &lt;b&gt;" in page
    assert "emu <b>" not in page


def test_the_most_wrong_labels_come_first() -> None:
    data = report_data()
    rows = data.predicted.to_pylist()
    errors = {row["key"]: len(set(row["label"]) ^ set(row["prediction"])) for row in rows}
    shown = [errors[example.key] for example in data.examples]
    wrong = [count for count in shown if count]
    assert wrong == sorted(errors.values(), reverse=True)[: len(wrong)]
    assert len(set(wrong)) > 1
    assert 0 in shown
    text = words(data)
    assert text.index("The most wrong labels first") < text.index(
        "All labels right", text.index("The most")
    )


def test_a_class_without_a_sample_is_named() -> None:
    assert "Mean average precision: no sample of emu <b>." in words(report_data(absent=True))


def test_labels_are_counted_and_none_is_said() -> None:
    data = report_data()
    told = data.section.targets({"test": {'["a", "b"]': 2, "[]": 1, '["a"]': 1}})
    assert told.rows == {"test": (2, 5 / 4, 1)}
    assert "a 3" in told.plot.description
    every = data.section.targets({"test": {'["a", "b"]': 2}}).plot
    assert every == label_balance({"test": SplitCounts(2, {"a": 2, "b": 2})})
    assert "100 %" in every.svg, "shares are of samples, not of labels"
    assert data.section.label("[]") == "none"
    assert data.section.label('["b", "a"]') == "a, b"
    empty = data.section.targets({"test": {}})
    assert empty.rows == {"test": (0, None, 0)}


def test_samples_without_any_label_were_evaluated_and_compare_nothing() -> None:
    text = words(report_data(frequency=1e-9))
    assert "Mean average precision: no sample of cat, dog" in text
    assert "What modalities are compared by is not defined on these samples" in text
    assert "Not evaluated yet" not in text
