"""Figures of predicted numbers and of several labels: what they show, and that they fit into any page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.metrics.multi_label import multi_label_metrics, precision_recall
from pipeline.objectives.multi_label import plots as multi_label_plots
from pipeline.objectives.regress import error_plots as regression_plots


def numbers(num=50):
    targets = np.random.default_rng(0).normal(20, 5, num)
    return targets, targets + 1.0


def labelled(num_classes=6, num=80):
    rng = np.random.default_rng(1)
    labels = rng.random((num, num_classes)) < 0.4
    labels[:, 0] = False
    probabilities = np.clip(labels * 0.3 + rng.random(labels.shape) * 0.7, 0, 1)
    names = [f"class {k}" for k in range(num_classes)]
    metrics = multi_label_metrics(
        names, labels, probabilities, [0.5] * num_classes, seed=0, num_resamples=20
    )
    mean = metrics.mean_average_precision.value
    return metrics.per_class, mean, precision_recall(names, labels, probabilities)


@pytest.fixture(scope="module")
def drawn():
    per_class, mean, curves = labelled()
    return [
        regression_plots.prediction_scatter(*numbers()),
        regression_plots.prediction_scatter(*numbers(), "age <b>"),
        regression_plots.residual_plot(*numbers()),
        regression_plots.residual_plot(*numbers(), "Größe"),
        multi_label_plots.average_precision_bars(per_class, mean),
        multi_label_plots.precision_recall_curves(curves, per_class),
    ]


def texts(plot):
    return {element.text for element in ElementTree.fromstring(plot.svg).iter("text")}


def test_figures_fit_into_one_page(drawn):
    ids = [name for plot in drawn for name in re.findall(r' id="([^"]+)"', plot.svg)]
    assert len(ids) == len(set(ids))
    for plot in drawn:
        root = ElementTree.fromstring(plot.svg)
        assert root.get("aria-label") == plot.description
        assert not re.search(r"(fill|stroke): #", plot.svg)
        references = set(re.findall(r'(?:url\(|href=")#([^)"]+)', plot.svg))
        assert references <= set(re.findall(r' id="([^"]+)"', plot.svg))


def test_figures_say_what_they_show(drawn):
    scatter, named, residuals = drawn[:3]
    assert {"target", "prediction", "equal", "50 samples"} <= texts(scatter)
    assert "mean absolute error 1." in scatter.description
    assert named.title == "Predictions and targets: age <b>"
    assert "mean 1, nine in ten between 1 and 1" in residuals.description


def test_of_many_samples_some_are_drawn_and_the_figure_says_so():
    targets, predictions = numbers(5000)
    for function in (regression_plots.prediction_scatter, regression_plots.residual_plot):
        plot = function(targets, predictions)
        assert "1000 of 5000 samples" in texts(plot)
        assert "5000 samples" in plot.description
        assert plot.svg.count("<use") < 1100


def test_equal_numbers_and_no_numbers():
    equal = np.full(3, 7.0)
    for function in (regression_plots.prediction_scatter, regression_plots.residual_plot):
        assert "3 samples" in function(equal, equal).description
        assert function(np.zeros(0), np.zeros(0)) is None


def test_bars_leave_out_classes_without_samples_and_say_so(drawn):
    bars = drawn[4]
    assert bars.title.endswith("(1 without a sample left out)")
    assert "class 0" not in texts(bars)
    assert {f"class {k}" for k in range(1, 6)} <= texts(bars)


def weakest_first(per_class):
    areas = {name: row.average_precision.value for name, row in per_class.items()}
    return sorted((name for name in areas if areas[name] is not None), key=areas.get)


def test_bars_show_the_weakest_of_many_classes():
    per_class, mean, _ = labelled(40, 60)
    bars = multi_label_plots.average_precision_bars(per_class, mean)
    assert bars.title.startswith("Average precision of the 20 weakest of 39 classes")
    order = weakest_first(per_class)
    assert order[0] in texts(bars)
    assert order[-1] not in texts(bars)


def test_curves_name_the_weakest_and_count_the_others(drawn):
    per_class, _, _ = labelled()
    shown = texts(drawn[5])
    assert "2 other classes" in shown
    for name in weakest_first(per_class)[:3]:
        assert any(text and text.startswith(name) for text in shown)


def test_nothing_to_draw():
    per_class, mean, curves = labelled(num=0)
    assert multi_label_plots.average_precision_bars(per_class, mean) is None
    assert multi_label_plots.precision_recall_curves(curves, per_class) is None
