"""Drift, against its formulas written out."""

import math
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics.statistics import add_sums
from pipeline.nightly.drift import Profile, drift, stability_index
from pipeline.objectives.classify.summary import summary
from pipeline.objectives.multi_label import MultiLabelConfig
from pipeline.objectives.regress import RegressConfig
from pipeline.sample import ERROR, ERROR_TYPE, MODALITIES

NO_ERROR = {
    "field": None,
    "reason": "bad_image",
    "detail": "",
    "offset": 0,
    "size": 0,
    "bytes": None,
}


PROFILE = Profile(("embedding", "prediction", "score"), summary)


def table(
    predictions: list[str], scores: list[float], embeddings: np.ndarray, bad: int = 0
) -> pa.Table:
    count = len(predictions)
    rows = np.asarray(embeddings, np.float32).reshape(-1)
    return pa.table(
        {
            MODALITIES: pa.array([["image", "text"]] * count, pa.list_(pa.string())),
            ERROR: pa.array([NO_ERROR] * bad + [None] * (count - bad), ERROR_TYPE),
            "prediction": predictions,
            "score": pa.array(scores, pa.float32()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows), embeddings.shape[1]),
        }
    )


def test_a_part_is_summed_up_without_its_bad_rows() -> None:
    embeddings = np.arange(8.0).reshape(4, 2)
    sums = PROFILE(table(["a", "b", "a", "a"], [0.05, 0.95, 1.0, 0.95], embeddings, bad=1))
    assert sums["samples"] == 3
    assert sums[MODALITIES] == {"image+text": 3}
    assert sums["prediction"] == {"b": 1, "a": 2}
    assert sums["score"] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert sums["embedding"] == [2 + 4 + 6, 3 + 5 + 7]


def test_parts_add_up_to_the_whole() -> None:
    chance = np.random.default_rng(0)
    names, scores = list("abca"), [0.1, 0.2, 0.3, 0.4]
    embeddings = chance.normal(size=(4, 3))
    whole = PROFILE(table(names, scores, embeddings))
    halves = [
        PROFILE(table(names[s], scores[s], embeddings[s])) for s in (slice(0, 2), slice(2, 4))
    ]
    added = add_sums(*halves)
    assert {name: added[name] for name in added if name != "embedding"} == {
        name: whole[name] for name in whole if name != "embedding"
    }
    np.testing.assert_allclose(added["embedding"], whole["embedding"], rtol=1e-5)
    assert drift(whole, added)["prediction_psi"] == 0


def test_a_part_without_good_rows_counts_nothing() -> None:
    sums = PROFILE(table(["a"], [0.5], np.zeros((1, 2)), bad=1))
    assert drift(sums, sums) == {}
    assert add_sums({}, sums)["samples"] == 0


@given(
    before=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000), min_size=1),
    now=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000), min_size=1),
)
def test_the_stability_index_is_siddiqis(before: dict[str, int], now: dict[str, int]) -> None:
    names = {*before, *now}
    old = {name: before.get(name, 0) + 0.5 for name in names}
    new = {name: now.get(name, 0) + 0.5 for name in names}
    expected = 0.0
    for name in names:
        share, was = new[name] / sum(new.values()), old[name] / sum(old.values())
        expected += (share - was) * math.log(share / was)
    found = stability_index(before, now)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found >= -1e-12
    assert stability_index(now, before) == pytest.approx(found, abs=1e-12)


def test_the_shift_of_the_mean_embedding() -> None:
    before = {"samples": 10, "embedding": [30.0, 40.0]}
    now = {"samples": 5, "embedding": [15.0, 45.0]}
    # Means (3, 4) and (3, 9): 5 apart, over a length of 5.
    assert drift(before, now)["embedding_shift"] == pytest.approx(1.0)
    assert drift(before, {"samples": 5, "embedding": [1.0]}) == {}, "another model's"


def test_of_several_labels_each_is_counted() -> None:
    rows = table(["cat", "dog"], [0.5, 0.5], np.zeros((2, 2)))
    lists = pa.array([["cat", "dog"], ["dog"]], pa.list_(pa.string()))
    at = rows.column_names.index("prediction")
    profile = Profile(PROFILE.columns, partial(MultiLabelConfig().summary, learned={}))
    assert profile(rows.set_column(at, "prediction", lists))["prediction"] == {"cat": 1, "dog": 2}


def test_estimated_numbers_are_counted_in_bins_of_the_training_sets_deviations() -> None:
    """So that a night whose numbers lie elsewhere is told, as labels are."""
    scale = {"mean": [10.0], "deviation": [2.0]}
    profile = Profile(("embedding", "prediction"), partial(RegressConfig().summary, learned=scale))
    rows = table(["a"] * 4, [0.5] * 4, np.zeros((4, 2)))
    at = rows.column_names.index("prediction")
    numbers = pa.array([10.1, 10.2, -500.0, 14.9], pa.float32())
    sums = profile(rows.set_column(at, "prediction", numbers))
    assert sums["prediction"] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    later = profile(rows.set_column(at, "prediction", pa.array([14.0] * 4, pa.float32())))
    assert drift(sums, later)["prediction_psi"] > 0.2


def test_what_the_model_does_not_count_is_not_counted() -> None:
    rows = table(["a"], [0.5], np.zeros((1, 2)))
    assert set(Profile(("embedding",))(rows)) == {"samples", MODALITIES, "embedding"}
