"""The bootstrap's shortcuts against resampling by index."""

import numpy as np
import pytest

from pipeline.metrics.resampling.bootstrap import (
    bootstrap_interval,
    bootstrap_means,
    confusion_intervals,
)
from pipeline.metrics.resampling.estimate import Estimate, paired_difference


def resample(num, seed, num_resamples=4000):
    return np.random.default_rng(seed).integers(0, num, size=(num_resamples, num))


@pytest.mark.parametrize("kind", ["few outcomes", "many outcomes"])
def test_interval_equals_resampling_by_index(kind):
    rng = np.random.default_rng(3)
    values = rng.random(120) < 0.8 if kind == "few outcomes" else rng.exponential(size=120)
    by_hand = np.asarray(values, float)[resample(120, 9)].mean(axis=1)
    low, high = bootstrap_interval(values, seed=1, num_resamples=4000)
    spread = by_hand.std()
    assert low == pytest.approx(np.percentile(by_hand, 2.5), abs=0.15 * spread)
    assert high == pytest.approx(np.percentile(by_hand, 97.5), abs=0.15 * spread)


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        low, high = bootstrap_interval(rng.random(200) < 0.7, seed=trial, num_resamples=400)
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 300 <= 0.99


def test_seed_decides():
    values = np.random.default_rng(0).random(500)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


def test_chunks_do_not_change_the_number_of_resamples():
    assert bootstrap_means(np.random.default_rng(0).random(30_000), seed=0).shape == (1000,)


def test_one_and_no_sample():
    assert bootstrap_interval(np.array([True]), seed=0) == (1.0, 1.0)
    assert bootstrap_interval(np.zeros(0), seed=0) is None
    assert paired_difference(np.zeros(0), np.zeros(0), seed=0).value is None
    assert confusion_intervals(np.zeros((3, 3), np.int64), seed=0) == {}


@pytest.mark.parametrize("values", [np.ones(3), np.arange(100.0)], ids=["few", "many outcomes"])
def test_no_resamples_give_no_interval(values):
    assert bootstrap_interval(values, seed=0, num_resamples=0) is None
    difference = paired_difference(values, values - 1, seed=0, num_resamples=0)
    assert difference == Estimate(1.0)
    assert confusion_intervals(np.eye(3, dtype=np.int64), seed=0, num_resamples=0) == {}


def test_paired_difference_is_narrower_than_unpaired_and_has_the_right_sign():
    rng = np.random.default_rng(5)
    first = rng.random(400) < 0.9
    second = first & (rng.random(400) < 0.95)
    result = paired_difference(first, second, seed=0, num_resamples=4000)
    assert result.value == pytest.approx(first.mean() - second.mean())
    low, high = result.interval
    assert 0 < low < result.value < high
    rows = resample(400, 1)
    by_hand = (first[rows].mean(axis=1) - second[rows].mean(axis=1)).std()
    assert (high - low) / 3.92 == pytest.approx(by_hand, rel=0.1)
    unpaired = first[rows].mean(axis=1) - second[resample(400, 2)].mean(axis=1)
    assert by_hand < unpaired.std()


def test_equal_models_do_not_differ():
    values = np.random.default_rng(0).random(100) < 0.5
    assert paired_difference(values, values, seed=0) == Estimate(0.0, (0.0, 0.0))
    with pytest.raises(ValueError, match="different shapes"):
        paired_difference(values, values[:-1], seed=0)


def test_confusion_intervals_equal_resampling_samples():
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 150)
    predictions = np.where(rng.random(150) < 0.7, labels, rng.integers(0, 3, 150))
    found = confusion_intervals(confusion_matrix(labels, predictions), seed=0, num_resamples=2000)
    rows = resample(150, 8, 600)
    by_hand = {
        "accuracy": [(labels[row] == predictions[row]).mean() for row in rows],
        "balanced_accuracy": [balanced_accuracy_score(labels[r], predictions[r]) for r in rows],
        "f1_macro": [f1_score(labels[r], predictions[r], average="macro") for r in rows],
    }
    for name, values in by_hand.items():
        expected = np.percentile(values, [2.5, 97.5])
        assert found[name] == pytest.approx(expected, abs=0.35 * np.std(values)), name
