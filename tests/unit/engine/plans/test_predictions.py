"""What slices are made of, and which subsets are predicted."""

import pyarrow as pa
import pytest

from pipeline.engine.plans.predictions import modality_subsets, values_at
from pipeline.modalities.decoding.decoder import METADATA_PREFIX


def test_a_place_where_no_sample_has_anything_is_told(caplog: pytest.LogCaptureFixture) -> None:
    table = pa.table({f"{METADATA_PREFIX}json": ['{"lang": "de"}', "{}", None]})
    assert values_at(["json.lang"], table, 8) == {"json.lang": ["de", None, None]}
    assert not caplog.messages
    assert values_at(["json.long"], table, 8) == {"json.long": [None] * 3}
    [said] = caplog.messages
    assert "none of 3 samples has anything at json.long" in said
    assert "evaluate.slices" in said


def test_of_many_modalities_a_slow_model_is_asked_for_the_whole_and_each_alone() -> None:
    three, four = ("a", "b", "c"), ("a", "b", "c", "d")
    assert len(modality_subsets(three)) == len(modality_subsets(three, 3)) == 7
    assert len(modality_subsets(four)) == 15
    assert modality_subsets(four, 3) == {
        "a": ("a",),
        "b": ("b",),
        "c": ("c",),
        "d": ("d",),
        "a+b+c+d": four,
    }
    assert modality_subsets(("a",), 0) == {"a": ("a",)}
