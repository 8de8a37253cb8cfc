"""Rows as a notebook looks at them: arrays keep dtype and shape, also where a neighbour has none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.tones import make_samples, write_tar

import pipeline
from pipeline.engine.decoding.isolated import decode_here
from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink

MODALITIES = {
    "image": {"fields": ["png"], "size": 8},
    "audio": {"fields": ["wav"], "sample_rate_hz": 8000, "max_seconds": 0.3, "num_mels": 20},
}


@pytest.fixture
def output(tmp_path: Path) -> str:
    """What decoding writes of three samples, of which the second has no image and the third no sound."""
    samples = make_samples(3, seed=1)
    both = next(fields for fields in samples.values() if {"png", "wav"} <= fields.keys())
    without = [(), ("png",), ("wav",)]
    write_tar(
        tmp_path / "x.tar",
        {
            f"s{number}": {name: data for name, data in both.items() if name not in lost}
            for number, lost in enumerate(without)
        },
    )
    decoder = Decoder.build(ModalitiesConfig.model_validate(MODALITIES), None)
    sink = ParquetSink(str(tmp_path / "out"), {}, {}, ("image", "audio"), config=ParquetConfig())
    sink.begin()
    parts = plan(expand(str(tmp_path / "x.tar")))
    for part in parts:
        sink.write(decode_here(part, decoder))
    sink.commit(parts)
    return str(tmp_path / "out")


def test_arrays_keep_dtype_and_shape_beside_missing_ones(output: str) -> None:
    whole, no_image, no_sound = pipeline.written_rows(output)
    assert [row["key"] for row in (whole, no_image, no_sound)] == ["s0", "s1", "s2"]
    for row in (whole, no_sound):
        assert row["image"].dtype == np.uint8
        assert row["image"].shape == (8, 8, 3)
    np.testing.assert_array_equal(whole["image"], no_sound["image"])
    for row in (whole, no_image):
        assert row["audio"].dtype == np.float16
        assert row["audio"].shape[0] == 20
    assert no_image["image"] is None
    assert no_sound["audio"] is None
    assert whole["modalities"] == ["image", "audio"]

    frame = pd.DataFrame(pipeline.written_rows(output, columns=["key", "image"]))
    assert list(frame.columns) == ["key", "image"]
    assert frame.image[0].dtype == np.uint8
    assert frame.image[1] is None


def test_a_folder_that_no_job_has_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no job has written here"):
        next(pipeline.written_rows(str(tmp_path)))
