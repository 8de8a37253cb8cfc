"""The interval of the area under the ROC curve against resampling by index."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.metrics.evaluation import evaluate_predictions
from pipeline.metrics.resampling.ranking import auc_values, roc_auc_interval


def drawn(num_samples: int, num_classes: int, skill: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, num_classes, num_samples)
    logits = rng.normal(size=(num_samples, num_classes)).round(1)  # some are equal
    logits[np.arange(num_samples), labels] += skill
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def area(positive: np.ndarray, scores: np.ndarray) -> float:
    """Pair by pair."""
    above, below = scores[positive][:, None], scores[~positive]
    return float((above > below).mean() + (above == below).mean() / 2)


def test_the_mean_of_the_values_is_the_area() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.35, 0.8, 0.4])
    positive = np.array([0, 0, 1, 1, 1, 0], bool)
    values = auc_values(positive, scores)
    assert values.mean() == pytest.approx(roc_auc_score(positive, scores))
    assert (auc_values(positive, positive * 1.0) == 1.0).all(), "a perfect ranking has no doubt"


@pytest.mark.parametrize(("num_classes", "skill"), [(2, 1.0), (4, 1.5)])
def test_interval_is_that_of_resampling_by_index(num_classes: int, skill: float) -> None:
    labels, probabilities = drawn(160, num_classes, skill)
    rng = np.random.default_rng(2)
    by_hand = []
    for _ in range(300):
        rows = rng.integers(0, 160, 160)
        areas = [area(labels[rows] == k, probabilities[rows, k]) for k in range(num_classes)]
        by_hand.append(np.mean(areas))
    ends = roc_auc_interval(labels, probabilities, seed=0, num_resamples=2000)
    assert ends is not None
    np.testing.assert_allclose(
        ends, np.percentile(by_hand, [2.5, 97.5]), atol=0.35 * np.std(by_hand)
    )


def test_no_interval_where_there_is_no_area() -> None:
    labels, probabilities = drawn(20, 3, 1.0)
    assert roc_auc_interval(np.zeros(20, int), probabilities, seed=0, num_resamples=50) is None
    assert roc_auc_interval(labels, probabilities, seed=0, num_resamples=0) is None


def test_an_evaluation_has_intervals_of_both() -> None:
    labels, probabilities = drawn(120, 3, 1.0)
    present = {"x": np.ones(120, bool)}
    record = evaluate_predictions("abc", labels, {"x": probabilities}, present, seed=0)
    for name in ("log_loss", "roc_auc"):
        ends, value = record.overall.interval_of(name), record.overall.metrics[name]
        assert ends is not None
        assert value is not None
        assert ends[0] < value < ends[1]
    rng = np.random.default_rng(2)
    losses = []
    for _ in range(300):
        rows = rng.integers(0, 120, 120)
        losses.append(-np.log(probabilities[rows, labels[rows]]).mean())
    np.testing.assert_allclose(
        record.overall.interval_of("log_loss"),
        np.percentile(losses, [2.5, 97.5]),
        atol=0.35 * np.std(losses),
    )
