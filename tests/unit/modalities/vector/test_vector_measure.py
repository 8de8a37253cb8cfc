"""Statistics of decoded vectors: exact, in any order and of any size."""

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.metrics.statistics import add_sums
from pipeline.modalities.vector import VectorConfig
from pipeline.modalities.vector.measure import SMALLEST_EXPONENT, exact_sums


@settings(max_examples=60)
@given(values=arrays.arrays(np.float32, (5, 2), elements=st.floats(width=32, allow_nan=True)))
def test_sums_are_those_of_exact_numbers(values: np.ndarray) -> None:
    first, second = exact_sums(values)
    unit = Fraction(2) ** SMALLEST_EXPONENT
    for channel in range(2):
        numbers = [Fraction(float(v)) for v in values[:, channel] if np.isfinite(v)]
        assert first[channel] * unit == sum(numbers)
        assert second[channel] * unit**2 == sum(n * n for n in numbers)


def test_statistics_of_parts_in_any_order_are_those_of_all() -> None:
    rng = np.random.default_rng(0)
    rows = [(rng.normal(3, 2, (6, 2)) * [1e-20, 1e12]).astype(np.float32) for _ in range(9)]
    rows[2][4:] = np.nan
    rows[3][0, 1] = np.nan
    config = VectorConfig(shape=(6, 2), non_finite="mask")
    codec, measure = config.codec(None), config.measure()
    parts = [codec.to_arrow([*rows[:2], None]), codec.to_arrow(rows[2:5]), codec.to_arrow(rows[5:])]
    sums = [
        json.loads(json.dumps(measure.sums(pa.chunked_array([part]), codec.column)))
        for part in parts
    ]
    results = []
    for order in itertools.permutations(sums):
        whole = {}
        for one in order:
            whole = add_sums(whole, one) if whole else one
        results.append(measure.statistics({**whole, "present": 9}, codec.column))
    assert all(result == results[0] for result in results)
    found = results[0]
    assert found["missing_values"] == 5
    assert found["steps"]["min"] == 4
    assert found["steps"]["max"] == 6
    stacked = np.stack(rows).astype(np.float64)
    for channel in range(2):
        numbers = [v for v in stacked[:, :, channel].ravel().tolist() if not math.isnan(v)]
        mean = math.fsum(numbers) / len(numbers)
        deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in numbers) / len(numbers))
        assert found["mean"][channel] == pytest.approx(mean, rel=1e-12)
        assert found["std"][channel] == pytest.approx(deviation, rel=1e-12)


def test_features_without_a_value_have_no_mean() -> None:
    config = VectorConfig(shape=(3,), non_finite="mask")
    codec = config.codec(None)
    column = codec.to_arrow(
        [np.array([1, np.nan, 5], np.float32), np.array([3, np.nan, 5], np.float32)]
    )
    sums = config.measure().sums(pa.chunked_array([column]), codec.column)
    found = config.measure().statistics({**sums, "present": 2}, codec.column)
    assert found["mean"] == [2.0, None, 5.0]
    assert found["std"] == [1.0, None, 0.0]
    assert found["axis"] == "feature"
