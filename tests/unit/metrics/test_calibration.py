"""Calibration against loops over samples and bins."""

import numpy as np
import pytest

from pipeline.metrics.calibration import (
    ReliabilityBin,
    brier_score,
    calibration,
    expected_calibration_error,
    reliability_bins,
)


def drawn(num=300, num_classes=4, seed=1):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(num_classes, 0.4), size=num)
    return rng.integers(0, num_classes, num), probabilities


def test_expected_calibration_error_equals_brute_force():
    labels, probabilities = drawn()
    error = 0.0
    for i in range(15):
        low, high = i / 15, (i + 1) / 15
        inside = [n for n, row in enumerate(probabilities) if low < max(row) <= high]
        if inside:
            confidence = sum(max(probabilities[n]) for n in inside) / len(inside)
            right = sum(np.argmax(probabilities[n]) == labels[n] for n in inside) / len(inside)
            error += len(inside) / len(labels) * abs(right - confidence)
    assert calibration(labels, probabilities).expected_calibration_error == pytest.approx(error)


def test_brier_score_equals_brute_force_and_scikit_learn_for_two_classes():
    from sklearn.metrics import brier_score_loss

    labels, probabilities = drawn(num_classes=3)
    total = 0.0
    for label, row in zip(labels, probabilities, strict=True):
        total += sum((row[k] - (k == label)) ** 2 for k in range(3))
    assert brier_score(labels, probabilities) == pytest.approx(total / len(labels))
    labels, probabilities = drawn(num_classes=2)
    binary = brier_score_loss(labels, probabilities[:, 1])  # counts one of the two equal terms
    assert brier_score(labels, probabilities) == pytest.approx(2 * binary)


def test_bins_hold_every_sample_once():
    confidence = np.array([0.0, 1 / 15, 0.5, 1.0, 1.0])
    bins = reliability_bins(confidence, np.array([True, False, True, True, False]))
    assert sum(row.count for row in bins) == 5
    assert bins[0].count == 2
    assert bins[-1] == ReliabilityBin(
        low=pytest.approx(14 / 15, abs=1e-6), high=1.0, count=2, confidence=1.0, accuracy=0.5
    )
    assert bins[5].accuracy is None


def test_a_perfectly_calibrated_coin():
    confidence = np.full(10, 0.5)
    assert expected_calibration_error(confidence, np.arange(10) < 5) == pytest.approx(0)
    assert expected_calibration_error(confidence, np.ones(10, bool)) == pytest.approx(0.5)


def test_no_samples():
    result = calibration(np.zeros(0, np.int64), np.zeros((0, 3)))
    assert result.expected_calibration_error is None
    assert result.brier_score is None
    assert len(result.bins) == 15
