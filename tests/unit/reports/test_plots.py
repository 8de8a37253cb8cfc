"""Figures: what they say, and that they fit into any page."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from pipeline.metrics.calibration import Calibration, ReliabilityBin
from pipeline.metrics.evaluation import ClassDetails
from pipeline.metrics.record import EvaluationRecord
from pipeline.objectives.classify.plots import class_curves, reliability
from pipeline.objectives.classify.section import ACCURACY, ClassSection, majority_rate
from pipeline.reports import curves, plots
from pipeline.reports.comparison import best_single, comparison_rows
from pipeline.reports.content import SplitCounts
from pipeline.reports.svg import draw, shortened, text_columns

ALLOWED = {"svg", "g", "defs", "path", "use", "text", "rect", "clipPath"}


@pytest.fixture(scope="module")
def drawn(report_data):
    details = ClassDetails.of(report_data.evaluation)
    rows = comparison_rows(report_data.evaluation, "accuracy")
    return [
        plots.by_modality(rows, ACCURACY, ClassSection().reference(report_data.evaluation)),
        plots.label_balance(report_data.splits),
        *curves.training_curves(report_data.history, None, {"Accuracy": "accuracy"}, ["Accuracy"]),
        class_curves(details.roc, details.per_class, "roc"),
        class_curves(details.pr, details.per_class, "pr"),
        reliability(details.calibration),
    ]


def test_figures_are_plain_svg_with_text(drawn):
    for plot in drawn:
        root = ElementTree.fromstring(plot.svg)
        assert root.tag == "svg"
        assert root.get("role") == "img"
        assert root.get("aria-label") == plot.description
        assert {e.tag for e in root.iter()} <= ALLOWED
        assert any(e.tag == "text" for e in root.iter())


def test_figures_take_the_pages_font_and_colours(drawn):
    for plot in drawn:
        assert "font-family" not in plot.svg
        assert not re.search(r"(fill|stroke): #", plot.svg)
        assert "var(--series-1)" in plot.svg


def test_ids_are_unique_across_figures_and_every_reference_has_one(drawn):
    ids = [name for plot in drawn for name in re.findall(r' id="([^"]+)"', plot.svg)]
    assert len(ids) == len(set(ids))
    for plot in drawn:
        wanted = set(re.findall(r'(?:url\(|href=")#([^)"]+)', plot.svg))
        assert wanted <= set(re.findall(r' id="([^"]+)"', plot.svg))


def test_labels_are_shown_as_they_are():
    splits = {"train": SplitCounts(labels={"$x_1$": 3, "<b>&": 2, "数字": 1, "a\nb\x07": 4})}
    plot = plots.label_balance(splits)
    shown = {e.text for e in ElementTree.fromstring(plot.svg).iter("text")}
    assert {"$x_1$", "<b>&", "数字", "a b"} <= shown


def test_many_labels_show_the_most_frequent():
    splits = {"train": SplitCounts(labels={f"label {i}": i + 1 for i in range(200)})}
    plot = plots.label_balance(splits)
    assert "20 most frequent of 200" in plot.title
    assert "label 199" in plot.svg
    assert "label 12<" not in plot.svg


def test_nothing_to_draw():
    assert plots.label_balance({"train": SplitCounts(3)}) is None
    assert plots.by_modality([], ACCURACY) is None
    assert class_curves({}, {}, "roc") is None
    assert reliability(Calibration(bins=(ReliabilityBin(0.0, 1.0, 0, None, None),))) is None
    assert curves.training_curves([]) == []


def test_history_with_gaps_and_a_single_row():
    rows = [{"epoch": 1, "train_loss": 1.5}, {"epoch": 2, "train_loss": None, "val_loss": 2.0}]
    assert [plot.title for plot in curves.training_curves(rows)] == ["Loss"]
    one = [{"step": 10, "train_loss": 1.0, "learning_rate": 1e-3}]
    titles = [plot.title for plot in curves.training_curves(one)]
    assert titles == ["Loss", "Learning rate"]


def test_drawing_leaves_matplotlib_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw("x", "t", "d", (100, 100), lambda figure: figure.add_axes((0, 0, 1, 1)))
    assert dict(matplotlib.rcParams) == before


def test_text_is_shortened_by_width():
    assert shortened("short") == "short"
    assert text_columns("数字") == 4
    assert shortened("数" * 30, 10) == "数数数数…"
    assert text_columns(shortened("e\u0301" * 30, 10)) == 10


def test_rows_put_models_trained_alone_beside_their_masked_twin(report_data):
    rows = comparison_rows(report_data.evaluation, "accuracy")
    assert rows[0].name == "image + text + audio"
    assert [row.name for row in rows[-2:]] == ["audio", "audio alone"]
    best = best_single(rows, ACCURACY)
    assert best.kind == "alone"
    alone = [row.metrics["accuracy"] for row in report_data.evaluation.comparison]
    assert best.value == max(alone)
    masked = comparison_rows(replace(report_data.evaluation, comparison=()), "accuracy")
    assert best_single(masked, ACCURACY).kind == "joint"


def test_rows_without_a_number_are_left_out_and_strangers_come_last():
    evaluation = EvaluationRecord.from_json(
        {
            "subsets": {"image": {"accuracy": None}, "text": {"accuracy": 0.5, "interval": None}},
            "comparison": [{"name": "a giant", "modalities": ["video"], "accuracy": 0.9}],
        }
    )
    rows = comparison_rows(evaluation, "accuracy")
    assert [row.name for row in rows] == ["text", "a giant"]
    assert plots.by_modality(rows, ACCURACY) is not None
    assert majority_rate(evaluation) is None
