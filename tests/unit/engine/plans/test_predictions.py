"""What slices are made of."""

import pyarrow as pa
import pytest

from pipeline.engine.plans.predictions import values_at
from pipeline.modalities.decoding.decoder import METADATA_PREFIX


def test_a_place_where_no_sample_has_anything_is_told(caplog: pytest.LogCaptureFixture) -> None:
    table = pa.table({f"{METADATA_PREFIX}json": ['{"lang": "de"}', "{}", None]})
    assert values_at(["json.lang"], table, 8) == {"json.lang": ["de", None, None]}
    assert not caplog.messages
    assert values_at(["json.long"], table, 8) == {"json.long": [None] * 3}
    [said] = caplog.messages
    assert "none of 3 samples has anything at json.long" in said
    assert "evaluate.slices" in said
