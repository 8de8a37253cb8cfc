"""Near copies of clips, and what is measured of their columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from support.clips import encode

from pipeline.cleaning import CleaningConfig
from pipeline.metrics.statistics import Measure, statistics
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.video.frames import are_there
from pipeline.sample import Field, Sample

SECTION = {"size": 32, "frames": 6}


def scene(seed: int, count: int = 8) -> list[np.ndarray]:
    """Coarse patches of colour that change from frame to frame."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return list(patches.repeat(16, axis=1).repeat(16, axis=2))


def test_a_clip_that_is_compressed_again_is_alike_and_others_are_not() -> None:
    config = ModalitiesConfig.model_validate({"video": SECTION}).by_name()["video"]
    codec, likeness = config.codec(None), config.likeness()
    assert likeness is not None
    first = scene(0)
    other_end = [*first[:4], *scene(1)[4:]]
    clips = [
        (encode(first), "mp4"),
        (encode(first, "webm"), "webm"),
        (encode(other_end), "mp4"),
        (encode(scene(2)), "mp4"),
    ]
    rows = np.stack([likeness.sign(codec, memoryview(data), field) for data, field in clips])
    comparison = likeness.compare(rows, getattr(CleaningConfig(), likeness.setting))
    right = np.array([0, 1, 2, 3])
    assert comparison.alike(np.zeros(4, int), right).tolist() == [True, True, False, False]
    assert any(keys[0] == keys[1] for keys in comparison.tables())


def test_statistics_are_of_the_frames_that_are_there() -> None:
    modalities = ModalitiesConfig.model_validate({"video": SECTION})
    decoder = Decoder.build(modalities, None)
    clips = [encode(scene(0)), encode(scene(1, count=2)), encode(scene(2, count=2))]
    samples = [
        Sample(f"k{number}", "x.tar", number, {"mp4": Field(memoryview(data), 0, len(data))})
        for number, data in enumerate(clips)
    ]
    table: pa.Table = decoder.decode(samples, "{}")
    columns = modalities.measures()
    found = statistics(Measure(columns)(table), decoder.schema, columns)["modalities"]["video"]
    values = np.array(table["video"].to_pylist(), np.float64).reshape(3, 6, 32, 32, 3)
    frames = values[are_there(values)].reshape(-1, 3)
    assert len(frames) == (6 + 2 + 2) * 32 * 32
    assert found["mean"] == pytest.approx(frames.mean(axis=0).tolist())
    assert found["std"] == pytest.approx(frames.std(axis=0).tolist())
    assert found["frames"]["mean"] == pytest.approx(10 / 3)
