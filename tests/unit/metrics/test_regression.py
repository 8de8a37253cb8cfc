"""Regression metrics against their definitions, and their intervals against resampling by index."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import rankdata

from pipeline.errors import ModelError
from pipeline.metrics.regression import paired_mae_difference, regression_metrics

NAMES = ("mae", "rmse", "r2", "spearman")


def pairs(num=60, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    targets = rng.normal(50, 10, num)
    predictions = targets + rng.normal(0, 4, num)
    return (targets.round(-1), predictions.round(-1)) if ties else (targets, predictions)


def by_hand(targets, predictions):
    errors = [p - t for t, p in zip(targets, predictions, strict=True)]
    middle = sum(targets) / len(targets)
    ranks = rankdata(targets), rankdata(predictions)
    return {
        "mae": sum(abs(error) for error in errors) / len(errors),
        "rmse": (sum(error**2 for error in errors) / len(errors)) ** 0.5,
        "r2": 1 - sum(error**2 for error in errors) / sum((t - middle) ** 2 for t in targets),
        "spearman": np.corrcoef(*ranks)[0, 1],
    }


@pytest.mark.parametrize("ties", [False, True])
def test_values_are_the_definitions(ties):
    metrics = regression_metrics(*pairs(ties=ties), seed=0, num_resamples=10).overall
    for name, value in by_hand(*pairs(ties=ties)).items():
        assert getattr(metrics, name).value == pytest.approx(value), name


@pytest.mark.parametrize("ties", [False, True])
def test_intervals_equal_resampling_by_index(ties):
    targets, predictions = pairs(ties=ties)
    rows = np.random.default_rng(9).integers(0, len(targets), size=(1000, len(targets)))
    resampled = [by_hand(targets[row], predictions[row]) for row in rows]
    metrics = regression_metrics(targets, predictions, seed=1, num_resamples=4000).overall
    for name in NAMES:
        values = [metric[name] for metric in resampled]
        expected = np.percentile(values, [2.5, 97.5])
        interval = getattr(metrics, name).interval
        assert interval == pytest.approx(expected, abs=0.25 * np.std(values)), name


def test_intervals_do_not_depend_on_where_the_targets_lie():
    targets, predictions = pairs()
    near = regression_metrics(targets, predictions, seed=0).overall
    far = regression_metrics(targets + 1e8, predictions + 1e8, seed=0).overall
    for name in NAMES:
        assert getattr(far, name).interval == pytest.approx(getattr(near, name).interval, rel=1e-5)


def test_several_outputs_are_averaged_and_kept():
    first, second = pairs(seed=1), pairs(seed=2)
    targets, predictions = (
        np.stack(columns, axis=1) for columns in zip(first, second, strict=True)
    )
    metrics = regression_metrics(targets, predictions, seed=3)
    alone = [regression_metrics(*pair, seed=3).overall for pair in (first, second)]
    assert metrics.outputs == tuple(alone)
    for name in NAMES:
        values = [getattr(scores, name).value for scores in alone]
        assert getattr(metrics.overall, name).value == pytest.approx(np.mean(values))
        low, high = getattr(metrics.overall, name).interval
        assert low < getattr(metrics.overall, name).value < high


def test_constant_targets_leave_r2_and_ranks_undefined_and_say_so():
    predictions = pairs()[1]
    metrics = regression_metrics(np.full(60, 0.1), predictions, seed=0).overall
    assert metrics.mae.value > 0
    assert metrics.mae.interval is not None
    for estimate in (metrics.r2, metrics.spearman):
        assert (estimate.value, estimate.interval) == (None, None)
        assert estimate.undefined == "all targets are equal"


def test_constant_predictions_leave_ranks_undefined_only():
    metrics = regression_metrics(pairs()[0], np.full(60, 50.0), seed=0).overall
    assert metrics.r2.value <= 0
    assert metrics.spearman.value is None
    assert metrics.spearman.undefined == "all predictions are equal"


def test_an_undefined_output_is_left_out_of_the_mean_by_name():
    targets, predictions = pairs()
    metrics = regression_metrics(
        np.stack([targets, np.zeros(60)], axis=1), np.stack([predictions] * 2, axis=1), seed=0
    )
    assert metrics.overall.r2.value == metrics.outputs[0].r2.value
    assert metrics.overall.r2.interval == metrics.outputs[0].r2.interval
    assert metrics.overall.r2.undefined == "output 1: all targets are equal"


@pytest.mark.parametrize(("num", "reason"), [(0, "no samples"), (1, "fewer than two samples")])
def test_few_samples(num, reason):
    targets, predictions = pairs(num)
    metrics = regression_metrics(targets, predictions, seed=0).overall
    assert (metrics.mae.value is None) == (num == 0)
    assert (metrics.r2.value, metrics.r2.undefined) == (None, reason)
    assert (metrics.spearman.value, metrics.spearman.undefined) == (None, reason)


def test_resamples_that_leave_a_metric_undefined_are_left_out():
    # Half of all resamples of two samples hold one of them twice.
    metrics = regression_metrics(np.array([0.0, 0.1]), np.array([0.0, 0.2]), seed=0).overall
    assert metrics.r2.interval == pytest.approx((-1.0, -1.0))
    assert metrics.spearman.interval == pytest.approx((1.0, 1.0))
    json.dumps(dataclasses.asdict(metrics), allow_nan=False)


def test_paired_difference_is_that_of_the_errors():
    targets, first = pairs(200)
    second = targets + np.random.default_rng(5).normal(0, 6, 200)
    difference = paired_mae_difference(targets, first, second, seed=0)
    expected = np.abs(first - targets).mean() - np.abs(second - targets).mean()
    assert difference.value == pytest.approx(expected)
    assert difference.interval[0] < expected < difference.interval[1] < 0
    columns = [np.stack([values, values], axis=1) for values in (targets, first, second)]
    assert paired_mae_difference(*columns, seed=0) == difference
    assert paired_mae_difference(*[np.zeros(0)] * 3, seed=0).value is None


def test_bad_numbers_are_refused():
    with pytest.raises(ModelError, match="1 of 60 predictions"):
        regression_metrics(np.zeros(60), np.r_[np.nan, np.zeros(59)], seed=0)
    with pytest.raises(ValueError, match="not finite"):
        regression_metrics(np.r_[np.inf, np.zeros(59)], np.zeros(60), seed=0)
    with pytest.raises(ValueError, match="do not fit"):
        regression_metrics(np.zeros(3), np.zeros((3, 1)), seed=0)
