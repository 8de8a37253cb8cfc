"""Calibration against loops over samples and bins."""

import numpy as np
import pytest

from pipeline.metrics.calibration import (
    ReliabilityBin,
    at_temperature,
    brier_score,
    calibration,
    choose_temperature,
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


def overconfident(num, factor=3.0, seed=0):
    """Labels drawn by some probabilities, and what a model says whose logits are larger by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num, 4))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in right])
    said = np.exp(factor * logits) / np.exp(factor * logits).sum(axis=1, keepdims=True)
    return labels, right, said


def test_the_temperature_has_the_lowest_loss_of_a_grid():
    labels, _, said = overconfident(60)
    wrong = 1 / (len(labels) + 2)

    def loss(temperature):
        total = 0.0
        for label, row in zip(labels, said, strict=True):
            powers = [value ** (1 / temperature) for value in row]
            for k, power in enumerate(powers):
                target = wrong / 4 + (1 - wrong) * (k == label)
                total -= target * np.log(power / sum(powers))
        return total

    chosen = choose_temperature(labels, said)
    assert loss(chosen) <= min(loss(t) for t in np.geomspace(0.05, 20, 200)) + 1e-4


def test_the_temperature_of_a_model_that_is_too_sure_is_found():
    labels, right, said = overconfident(4000)
    chosen = choose_temperature(labels, said)
    assert chosen == pytest.approx(3.0, rel=0.1)
    np.testing.assert_allclose(at_temperature(said, 3.0), right, rtol=1e-6)
    before = calibration(labels, said).expected_calibration_error
    after = calibration(labels, at_temperature(said, chosen)).expected_calibration_error
    assert after < 0.3 * before


def test_a_temperature_can_be_taken_back_and_never_changes_a_decision():
    _, probabilities = drawn(num=50)
    scaled = at_temperature(probabilities, 2.5)
    assert (scaled.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(at_temperature(scaled, 1 / 2.5), probabilities, atol=1e-9)
    sure = at_temperature(np.array([[1.0, 0.0]]), 0.5)
    np.testing.assert_allclose(sure, [[1.0, 0.0]], atol=1e-30)


def test_few_samples_that_are_all_right_make_nobody_sure_of_everything():
    labels = np.arange(12) % 3
    probabilities = np.where(np.arange(3) == labels[:, None], 0.6, 0.2)
    chosen = choose_temperature(labels, probabilities)
    highest = at_temperature(probabilities, chosen).max()
    assert highest == pytest.approx(1 - 1 / 14 * 2 / 3, abs=1e-3), "as sure as 12 of 12 may make it"
    assert choose_temperature(labels[:0], probabilities[:0]) is None
