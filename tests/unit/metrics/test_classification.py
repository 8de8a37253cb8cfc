"""Classification metrics against brute force, and where there is next to nothing to measure."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import auc

from pipeline.errors import ConfigError, ModelError
from pipeline.metrics.classification import ClassificationMetrics
from pipeline.metrics.curves import CURVE_POINTS


def predictions(num, num_classes, seed=0, skill=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num)
    logits = rng.normal(size=(num, num_classes))
    logits[np.arange(num), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.astype(np.float32)


def gathered(classes, labels, probabilities):
    metrics = ClassificationMetrics(classes)
    metrics.update(labels, probabilities)
    return metrics


def flat(scores):
    """The metrics beside the rest, as evaluate writes them."""
    values = asdict(scores)
    return {**values, **values.pop("metrics")}


def by_hand(labels, probabilities, num_classes):
    """Every number from its definition, by loops."""
    predicted = [int(np.argmax(row)) for row in probabilities]
    pairs = list(zip(labels.tolist(), predicted, strict=True))
    precision, recall, f1, areas = [], [], [], []
    for k in range(num_classes):
        hits = sum(a == k and b == k for a, b in pairs)
        said, real = sum(b == k for _, b in pairs), sum(a == k for a, _ in pairs)
        precision.append(hits / said if said else 0.0)
        recall.append(hits / real if real else 0.0)
        f1.append(2 * hits / (said + real))
        positive = [row[k] for row, a in zip(probabilities, labels, strict=True) if a == k]
        negative = [row[k] for row, a in zip(probabilities, labels, strict=True) if a != k]
        # The probability that a positive is ranked above a negative, ties counted half.
        wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
        areas.append(wins / (len(positive) * len(negative)))
    normalised = probabilities.astype(np.float64)
    normalised /= normalised.sum(axis=1, keepdims=True)
    return {
        "accuracy": np.mean([a == b for a, b in pairs]),
        "balanced_accuracy": np.mean(recall),
        "precision_macro": np.mean(precision),
        "recall_macro": np.mean(recall),
        "f1_macro": np.mean(f1),
        "roc_auc": np.mean(areas),
        "log_loss": -np.mean([np.log(row[a]) for row, a in zip(normalised, labels, strict=True)]),
    }


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_numbers_equal_brute_force(num_classes):
    labels, probabilities = predictions(150, num_classes, seed=num_classes)
    result = flat(gathered([f"c{k}" for k in range(num_classes)], labels, probabilities).compute())
    for name, expected in by_hand(labels, probabilities, num_classes).items():
        assert result[name] == pytest.approx(expected, abs=1e-6), name


def test_average_precision_is_the_mean_precision_at_each_positive():
    labels, probabilities = predictions(80, 3)
    result = flat(gathered("abc", labels, probabilities).compute())
    expected = []
    for k in range(3):
        order = np.argsort(-probabilities[:, k])
        positive = labels[order] == k
        precision = np.cumsum(positive) / np.arange(1, len(labels) + 1)
        expected.append(precision[positive].mean())
    assert result["average_precision"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_confusion_has_labels_as_rows():
    labels, probabilities = predictions(60, 4)
    result = flat(gathered("abcd", labels, probabilities).compute())
    expected = [[0] * 4 for _ in range(4)]
    for label, row in zip(labels, probabilities, strict=True):
        expected[label][int(row.argmax())] += 1
    assert result["confusion"] == expected
    assert [row["support"] for row in result["per_class"].values()] == [sum(r) for r in expected]


def test_top_k_only_where_there_are_more_classes():
    labels, probabilities = predictions(200, 5)
    result = flat(gathered("abcde", labels, probabilities).compute())
    best = np.argsort(-probabilities, axis=1)[:, :3]
    assert result["top_3_accuracy"] == pytest.approx((best == labels[:, None]).any(axis=1).mean())
    assert "top_5_accuracy" not in result


def test_batches_and_merging_change_nothing():
    labels, probabilities = predictions(90, 3)
    whole = flat(gathered("abc", labels, probabilities).compute())
    first, second = ClassificationMetrics("abc"), ClassificationMetrics("abc")
    for start in range(0, 60, 7):
        stop = min(start + 7, 60)
        first.update(labels[start:stop], probabilities[start:stop])
    second.update(labels[60:], probabilities[60:])
    first.merge(second)
    assert flat(first.compute()) == whole
    with pytest.raises(ValueError, match="cannot merge"):
        first.merge(ClassificationMetrics("abd"))


@pytest.mark.parametrize("num", [0, 1, 2])
@pytest.mark.parametrize("num_classes", [2, 6])
def test_next_to_nothing_is_strict_json(num, num_classes):
    labels, probabilities = predictions(num, num_classes)
    classes = [f"c{k}" for k in range(num_classes)]
    result = flat(gathered(classes, labels, probabilities).compute())
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["num_samples"] == num
    assert (result["accuracy"] is None) == (num == 0)


def test_absent_classes_neither_count_nor_fail():
    labels, probabilities = predictions(50, 3, skill=4)
    present = np.hstack([probabilities, np.zeros((50, 2), np.float32)])
    five = flat(gathered("abcde", labels, present).compute())
    three = flat(gathered("abc", labels, probabilities).compute())
    for name in ("accuracy", "f1_macro", "roc_auc", "average_precision", "balanced_accuracy"):
        assert five[name] == pytest.approx(three[name]), name
    assert five["per_class"]["e"]["roc_auc"] is None
    assert five["per_class"]["e"]["f1"] is None
    assert set(five["roc"]) == {"a", "b", "c"}


def test_one_class_only_has_no_ranking():
    _, probabilities = predictions(20, 3)
    result = flat(gathered("abc", np.zeros(20, np.int64), probabilities).compute())
    assert result["roc_auc"] is None
    assert result["roc"] == {}


def test_curves_are_thinned_and_keep_their_area():
    labels, probabilities = predictions(5000, 2, skill=1.5)
    result = flat(gathered("ab", labels, probabilities).compute())
    for name, curve in result["roc"].items():
        assert len(curve["fpr"]) <= CURVE_POINTS
        assert (curve["fpr"][0], curve["tpr"][0]) == (0.0, 0.0)
        assert (curve["fpr"][-1], curve["tpr"][-1]) == (1.0, 1.0)
        area = auc(curve["fpr"], curve["tpr"])
        assert area == pytest.approx(result["per_class"][name]["roc_auc"], abs=2e-3)
        assert len(result["pr"][name]["recall"]) <= CURVE_POINTS


def test_half_precision_sums_are_normalised():
    labels, probabilities = predictions(40, 3)
    exact = flat(gathered("abc", labels, probabilities).compute())
    half = flat(gathered("abc", labels, probabilities.astype(np.float16)).compute())
    assert half["log_loss"] == pytest.approx(exact["log_loss"], rel=1e-2)


def test_wrong_input_is_refused():
    metrics = ClassificationMetrics("abc")
    with pytest.raises(ValueError, match="do not fit"):
        metrics.update(np.zeros(2, np.int64), np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="outside"):
        metrics.update(np.array([3]), np.full((1, 3), 1 / 3, np.float32))
    with pytest.raises(ModelError, match="no probabilities"):
        metrics.update(np.array([0]), np.full((1, 3), np.nan, np.float32))
    for classes in (["a"], ["a", "a"]):
        with pytest.raises(ConfigError):
            ClassificationMetrics(classes)
