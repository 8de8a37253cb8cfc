"""Tests of differences, against the sums that they stand for."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.significance import holm, mcnemar, paired_bootstrap


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0, 0), (1, 0), (5, 1), (3, 3), (2, 11), (30, 14), (0, 9)]
)
def test_mcnemar_is_the_binomial_sum(only_first: int, only_second: int) -> None:
    both = [(True, True)] * 4 + [(False, False)] * 3
    pairs = both + [(True, False)] * only_first + [(False, True)] * only_second
    first, second = np.array(pairs).T
    total = only_first + only_second
    tail = sum(comb(total, count) for count in range(min(only_first, only_second) + 1))
    expected = min(1.0, 2 * tail / 2**total) if total else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(second, first) == pytest.approx(expected, rel=1e-12)


def test_bootstrap_is_the_share_of_shifted_resamples() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.3, 1, 80), rng.normal(0, 1, 80)
    differences = first - second
    observed, null = differences.mean(), differences - differences.mean()
    draws = [null[rng.integers(0, 80, 80)].mean() for _ in range(4000)]
    by_hand = (1 + sum(abs(draw) >= abs(observed) for draw in draws)) / 4001
    p = paired_bootstrap(first, second, seed=1, num_resamples=4000)
    assert p == pytest.approx(by_hand, abs=0.02)


def test_bootstrap_where_there_is_nothing_to_tell() -> None:
    values = np.arange(5.0)
    assert paired_bootstrap(values, values, seed=0) == 1.0
    assert paired_bootstrap(values[:0], values[:0], seed=0) is None
    assert paired_bootstrap(values, values + 1, seed=0, num_resamples=0) is None
    assert paired_bootstrap(values + 1, values, seed=0, num_resamples=99) == pytest.approx(0.01)


def test_bootstrap_is_wrong_as_rarely_as_it_says() -> None:
    """Two equal models are told apart in about one of twenty trials."""
    rng = np.random.default_rng(0)
    p_values = [
        paired_bootstrap(*rng.normal(size=(2, 60)), seed=trial, num_resamples=199)
        for trial in range(300)
    ]
    assert 0.02 <= np.mean([p < 0.05 for p in p_values if p is not None]) <= 0.09


def step_by_step(p_values: list[float]) -> list[float]:
    """Holm as one would by hand: the level at which a hypothesis is the last that is rejected."""
    ordered = sorted(p_values)
    return [
        max(
            min(1.0, (len(ordered) - rank) * ordered[rank])
            for rank in range(ordered.index(p) + ordered.count(p))
        )
        for p in p_values
    ]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_step_by_step(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(step_by_step(p_values))


def test_holm_of_a_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
