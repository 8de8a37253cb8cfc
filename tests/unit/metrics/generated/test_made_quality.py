"""Distances of sets of features against brute force and against torch-fidelity, given the same features."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from pipeline.metrics.generated import neighbours
from pipeline.metrics.generated.diversity import diversity_ratio, mean_distance
from pipeline.metrics.generated.frechet import frechet_distance
from pipeline.metrics.generated.neighbours import precision_recall
from pipeline.metrics.generated.quality import qualities

Floats = NDArray[np.float64]


def features(count: int, seed: int, width: int = 6, shift: float = 0.0) -> Floats:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(width, width))
    drawn: Floats = rng.normal(size=(count, width)) @ mixing + shift
    return drawn


PAIRS = [(40, 30, 0.0), (25, 60, 1.5), (5, 4, 0.3)]  # the last: fewer than dimensions


@pytest.mark.parametrize(("first", "second", "shift"), PAIRS)
def test_frechet_distance_is_the_formula(first: int, second: int, shift: float) -> None:
    ours, theirs = features(first, 0), features(second, 1, shift=shift)
    left, right = np.cov(ours, rowvar=False), np.cov(theirs, rowvar=False)
    moved = np.square(ours.mean(0) - theirs.mean(0)).sum()
    expected = moved + np.trace(left + right - 2 * sqrtm(left @ right).real)
    assert frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert frechet_distance(theirs, ours) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("first", "second", "shift"), PAIRS[:2])
def test_frechet_distance_is_torch_fidelitys(first: int, second: int, shift: float) -> None:
    ours, theirs = features(first, 0), features(second, 1, shift=shift)
    statistics = [fid_features_to_statistics(torch.from_numpy(rows)) for rows in (ours, theirs)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)
    [value] = expected.values()
    assert frechet_distance(ours, theirs) == pytest.approx(value, rel=1e-6)


def test_frechet_distance_knows_equal_sets_and_normal_ones() -> None:
    ours = features(50, 3)
    assert frechet_distance(ours, ours) == pytest.approx(0.0, abs=1e-6)
    # Of one dimension: the squared difference of means, and of deviations.
    line = np.arange(10.0)[:, None]
    assert frechet_distance(line, 3 * line + 5) == pytest.approx(
        (line.mean() - (3 * line + 5).mean()) ** 2 + (2 * line.std(ddof=1)) ** 2
    )
    assert np.isnan(frechet_distance(ours[:1], ours))


def within(asked: Floats, others: Floats, count: int) -> float:
    radii = []
    for row, value in enumerate(others):
        rest = np.delete(others, row, axis=0)
        radii.append(sorted(np.linalg.norm(rest - value, axis=1))[count - 1])
    hits = [
        any(np.linalg.norm(value - o) <= r for o, r in zip(others, radii, strict=True))
        for value in asked
    ]
    return float(np.mean(hits))


@pytest.mark.parametrize("block", [1, 4_000_000])
@pytest.mark.parametrize(("first", "second", "shift"), PAIRS)
def test_precision_and_recall_are_the_definition(
    first: int, second: int, shift: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_ELEMENTS", block)
    real, made = features(first, 0), features(second, 1, shift=shift)
    for count in (1, 3):
        found = precision_recall(real, made, count)
        assert found.precision == within(made, real, count)
        assert found.recall == within(real, made, count)


def test_precision_and_recall_are_torch_fidelitys() -> None:
    real, made = features(80, 0), features(60, 1, shift=0.7)
    theirs = prc_features_to_metric(
        torch.from_numpy(made), torch.from_numpy(real), prc_neighborhood=3, verbose=False
    )
    found = precision_recall(real, made, 3)
    assert found.precision == pytest.approx(theirs["precision"])
    assert found.recall == pytest.approx(theirs["recall"])


def test_a_maker_of_one_value_is_precise_and_recalls_nothing() -> None:
    real = features(50, 0)
    found = precision_recall(real, np.repeat(real[:1], 40, axis=0))
    assert found.precision == 1.0
    assert found.recall <= 0.05
    assert np.isnan(precision_recall(real[:3], real).precision)


def test_diversity_is_the_mean_over_pairs_and_classes() -> None:
    made, real = features(9, 0), features(12, 1)
    pairs = [np.linalg.norm(made[i] - made[j]) for i in range(9) for j in range(i)]
    assert mean_distance(made) == pytest.approx(np.mean(pairs))
    ours, theirs = list("aaabbbccd"), list("aaabbbbcdddd")
    ratios = [
        mean_distance(made[np.array(ours) == name]) / mean_distance(real[np.array(theirs) == name])
        for name in "ab"  # of c and d, one or the other has but one
    ]
    assert diversity_ratio(made, ours, real, theirs) == pytest.approx(np.mean(ratios))
    assert diversity_ratio(made * 0, ours, real, theirs) == 0.0
    assert np.isnan(diversity_ratio(made[:1], ["a"], real, theirs))


def test_real_values_are_nearer_to_real_ones_than_worse_ones_are() -> None:
    real = features(80, 0)
    good, real_again = qualities(real, features(70, 2), seed=1)
    poor, same = qualities(real, features(70, 2, shift=2.0), seed=1)
    assert same == real_again
    assert good.frechet_distance == pytest.approx(real_again.frechet_distance, rel=0.5)
    assert poor.frechet_distance > 3 * good.frechet_distance
    assert poor.precision < good.precision
    assert qualities(real, features(70, 2), seed=1)[0] == good
    assert set(good.to_dict()) == {"frechet_distance", "precision", "recall"}
