"""Multi-label metrics against their definitions, and their intervals against resampling by index."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from pipeline.errors import ModelError
from pipeline.metrics.multi_label import (
    multi_label_metrics,
    paired_map_difference,
    precision_recall,
)
from pipeline.metrics.thresholds import choose_thresholds

CLASSES = ("cat", "dog", "bird", "fish")


def samples(num=120, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.random((num, len(CLASSES))) < [0.1, 0.3, 0.5, 0.8]
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(size=labels.shape))))
    return labels, scores.round(1) if ties else scores


def metrics_of(labels, probabilities, thresholds=(0.5,) * 4, **settings):
    return multi_label_metrics(
        CLASSES, labels, probabilities, thresholds, **{"seed": 0, "num_resamples": 50, **settings}
    )


def average_precision(positive, scores):
    """The mean precision at the places of the positives; equal scores are passed together."""
    precisions = [positive[scores >= scores[i]].mean() for i in np.flatnonzero(positive)]
    return sum(precisions) / len(precisions)


def f1(positive, predicted):
    hits = (positive & predicted).sum()
    errors = (positive != predicted).sum()
    return 2 * hits / (2 * hits + errors)


@pytest.mark.parametrize("ties", [False, True])
def test_values_are_the_definitions(ties):
    labels, probabilities = samples(ties=ties)
    thresholds = (0.3, 0.5, 0.5, 0.7)
    metrics = metrics_of(labels, probabilities, thresholds)
    predicted = probabilities >= thresholds
    areas = [average_precision(labels[:, k], probabilities[:, k]) for k in range(4)]
    assert metrics.mean_average_precision.value == pytest.approx(np.mean(areas))
    assert metrics.f1_micro.value == pytest.approx(f1(labels.ravel(), predicted.ravel()))
    scores = [f1(labels[:, k], predicted[:, k]) for k in range(4)]
    assert metrics.f1_macro.value == pytest.approx(np.mean(scores))
    assert metrics.f1_micro.value == pytest.approx(f1_score(labels, predicted, average="micro"))
    exact = [all(row == other) for row, other in zip(labels, predicted, strict=True)]
    assert metrics.subset_accuracy.value == pytest.approx(np.mean(exact))
    assert metrics.hamming_loss.value == pytest.approx((labels != predicted).sum() / labels.size)
    for k, (name, score) in enumerate(metrics.per_class.items()):
        assert (name, score.support) == (CLASSES[k], labels[:, k].sum())
        assert score.average_precision.value == pytest.approx(areas[k])
        assert areas[k] == pytest.approx(average_precision_score(labels[:, k], probabilities[:, k]))
        assert score.f1 == pytest.approx(scores[k])
        assert score.precision == pytest.approx(labels[predicted[:, k], k].mean())
        assert score.recall == pytest.approx(predicted[labels[:, k], k].mean())
        assert score.threshold == thresholds[k]


@pytest.mark.parametrize("ties", [False, True])
def test_intervals_equal_resampling_by_index(ties):
    labels, probabilities = samples(60, ties=ties)
    metrics = metrics_of(labels, probabilities, seed=1, num_resamples=3000)
    predicted = probabilities >= 0.5
    resampled = {name: [] for name in ("map", "micro", "macro", "subset", "hamming", "fish")}
    for rows in np.random.default_rng(9).integers(0, 60, size=(400, 60)):
        truth, scores, decided = labels[rows], probabilities[rows], predicted[rows]
        areas = [
            average_precision(truth[:, k], scores[:, k]) for k in range(4) if truth[:, k].any()
        ]
        occurring = [k for k in range(4) if (truth[:, k] | decided[:, k]).any()]
        resampled["map"].append(np.mean(areas))
        resampled["micro"].append(f1(truth.ravel(), decided.ravel()))
        resampled["macro"].append(np.mean([f1(truth[:, k], decided[:, k]) for k in occurring]))
        resampled["subset"].append((truth == decided).all(axis=1).mean())
        resampled["hamming"].append((truth != decided).mean())
        resampled["fish"].append(average_precision(truth[:, 3], scores[:, 3]))
    intervals = {
        "map": metrics.mean_average_precision,
        "micro": metrics.f1_micro,
        "macro": metrics.f1_macro,
        "subset": metrics.subset_accuracy,
        "hamming": metrics.hamming_loss,
        "fish": metrics.per_class["fish"].average_precision,
    }
    for name, values in resampled.items():
        expected = np.percentile(values, [2.5, 97.5])
        assert intervals[name].interval == pytest.approx(expected, abs=0.35 * np.std(values)), name


def test_a_class_without_positives_is_left_out_and_named():
    labels, probabilities = samples()
    labels[:, 1] = False
    metrics = metrics_of(labels, probabilities)
    dog = metrics.per_class["dog"]
    assert (dog.average_precision.value, dog.average_precision.interval) == (None, None)
    assert dog.average_precision.undefined == "no sample of this class"
    assert dog.recall is None
    others = [metrics.per_class[name].average_precision.value for name in CLASSES if name != "dog"]
    assert metrics.mean_average_precision.value == pytest.approx(np.mean(others))
    assert metrics.mean_average_precision.undefined == "no sample of dog"
    assert dog.f1 == 0.0, "predicted although never a label"
    json.dumps(dataclasses.asdict(metrics), allow_nan=False)


@pytest.mark.parametrize("num", [0, 5])
def test_nothing_to_find(num):
    metrics = metrics_of(np.zeros((num, 4), bool), np.zeros((num, 4)))
    assert metrics.mean_average_precision.value is None
    assert metrics.f1_micro.value is None
    assert metrics.f1_macro.undefined == ("no label and no prediction" if num else "no samples")
    assert metrics.subset_accuracy.value == (1.0 if num else None)
    assert metrics.hamming_loss.value == (0.0 if num else None)
    json.dumps(dataclasses.asdict(metrics), allow_nan=False)


@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_is_better_than_the_chosen_one(ties):
    labels, probabilities = samples(ties=ties)
    thresholds = choose_thresholds(labels, probabilities)
    for k in range(4):
        candidates = [0.0, *probabilities[:, k], 1.0]
        best = max(f1(labels[:, k], probabilities[:, k] >= t) for t in candidates)
        reached = f1(labels[:, k], probabilities[:, k] >= thresholds.values[k])
        assert reached == pytest.approx(best)
        assert thresholds.f1[k] == pytest.approx(best)
        assert thresholds.values[k] not in probabilities[:, k], "halfway, not on a probability"


def test_a_class_without_positives_has_the_default_threshold():
    labels, probabilities = samples()
    labels[:, 2] = False
    thresholds = choose_thresholds(labels, probabilities, default=0.4)
    assert (thresholds.values[2], thresholds.f1[2]) == (0.4, None)
    assert thresholds.by_default == (2,)
    assert choose_thresholds(labels[:0], probabilities[:0]).by_default == (0, 1, 2, 3)


def test_bad_input_is_refused():
    labels, probabilities = samples()
    for value in (np.nan, -0.1, 1.1):
        probabilities[0, 0] = value
        with pytest.raises(ModelError, match="1 of 120 samples"):
            metrics_of(labels, probabilities)
    with pytest.raises(ValueError, match="do not fit"):
        choose_thresholds(labels, probabilities[:5])
    with pytest.raises(ValueError, match="3 thresholds"):
        metrics_of(*samples(), thresholds=(0.5,) * 3)


def test_the_difference_of_two_models_is_resampled_in_pairs():
    labels, first = samples(80)
    second = np.clip(first + np.random.default_rng(3).normal(0, 0.2, first.shape), 0, 1)
    difference = paired_map_difference(labels, first, second, seed=4, num_resamples=500)

    def mean_precision(rows, probabilities):
        occurring = np.flatnonzero(labels[rows].any(axis=0))
        areas = [average_precision(labels[rows, k], probabilities[rows, k]) for k in occurring]
        return np.mean(areas)

    whole = np.arange(80)
    expected = mean_precision(whole, first) - mean_precision(whole, second)
    assert difference.value == pytest.approx(expected)
    resampled = [
        mean_precision(rows, first) - mean_precision(rows, second)
        for rows in np.random.default_rng(9).integers(0, 80, size=(300, 80))
    ]
    ends = np.percentile(resampled, [2.5, 97.5])
    assert difference.interval == pytest.approx(ends, abs=0.4 * np.std(resampled))
    assert paired_map_difference(labels, first, first, seed=0, num_resamples=20).interval == (0, 0)
    assert paired_map_difference(labels[:0], first[:0], first[:0], seed=0).value is None


def test_curves_pass_through_what_a_threshold_reaches():
    labels, probabilities = samples()
    labels[:, 1] = False
    curves = precision_recall(CLASSES, labels, probabilities)
    assert list(curves) == ["cat", "bird", "fish"]
    recall = np.array(curves["fish"]["recall"])
    assert (np.diff(recall) >= 0).all()
    scores = metrics_of(labels, probabilities).per_class["fish"]
    distance = np.abs(recall - scores.recall) + np.abs(
        np.array(curves["fish"]["precision"]) - scores.precision
    )
    assert distance.min() < 1e-4


def test_a_class_that_never_occurs_leaves_the_interval_of_macro_f1():
    labels, probabilities = samples()
    labels[:, 1], probabilities[:, 1] = False, 0.0
    metrics = metrics_of(labels, probabilities)
    low, high = metrics.f1_macro.interval
    assert low < metrics.f1_macro.value < high
