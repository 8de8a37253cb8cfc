"""Quantiles against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.distribution import Distribution, Spread

values_of = st.one_of(
    st.integers(0, 20_000).map(float),
    st.integers(0, 10**12).map(float),
    st.floats(1e-6, 1e9),
)


def distribution(values: list[float]) -> Distribution:
    made = Distribution()
    for value in values:
        made.add(value)
    return made


@settings(max_examples=100)
@given(values=st.lists(values_of, min_size=1, max_size=80), cut=st.integers(0, 80))
def test_quantiles_are_those_of_the_sorted_values(values: list[float], cut: int) -> None:
    whole = distribution(values)
    merged = distribution(values[:cut])
    merged.merge(distribution(values[cut:]))
    ordered = sorted(values)
    for fraction in (0.0, 0.25, 0.5, 0.95, 1.0):
        rank = max(1, math.ceil(fraction * len(values) - 1e-9))
        expected = ordered[rank - 1]
        for each in (whole, merged):
            found = each.quantile(fraction)
            assert found == pytest.approx(expected, rel=5.01e-4)
            if expected < 10_000 and expected == int(expected):
                assert found == expected, "small whole numbers are kept as they are"
    for each in (whole, merged):
        assert (each.quantile(0), each.quantile(1)) == (ordered[0], ordered[-1])
        assert each.spread().total == pytest.approx(sum(values), rel=1e-9, abs=5.1e-7)
        assert each.spread().count == len(values)


def test_memory_does_not_grow_with_the_number_of_values() -> None:
    made = Distribution()
    for value in np.random.default_rng(0).lognormal(10, 2, 200_000):
        made.add(float(value))
    made.spread()
    assert len(made._counts) < 60_000
    before = len(made._counts)
    for value in np.random.default_rng(1).lognormal(10, 2, 200_000):
        made.add(float(value))
    assert made.spread().count == 400_000
    assert len(made._counts) < 1.5 * before


def test_no_values() -> None:
    assert Distribution().spread() == Spread(0, 0)
    assert math.isnan(Distribution().quantile(0.5))
