"""Clips that cannot be used: each has its reason, and the ones around them are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.clips import FORMS, clip, encode, of_sound_alone, picture
from support.tones import png, write_tar

from pipeline.engine.decoding.isolated import decode_alone
from pipeline.errors import ConfigError, SampleError
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.video import library
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part


def refused(data: bytes, field: str = "mp4", **settings: Any) -> SampleError:
    config = ModalitiesConfig.model_validate({"video": {"size": 16, "frames": 4, **settings}})
    with pytest.raises(SampleError) as caught:
        config.by_name()["video"].codec(None).decode(memoryview(data), field)
    assert caught.value.field == field
    return caught.value


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut(form: str, share: float) -> None:
    data = clip(form)
    assert refused(data[: int(share * len(data))], form).reason == "bad_video"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the video"),
        (b"\xff\xfe\xfd" * 40, "no file of moving pictures"),
        (png(), "its content is png"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "its content is text"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "its content is text"),
    ],
)
def test_what_is_no_clip(data: bytes, words: str) -> None:
    fault = refused(data)
    assert fault.reason == "bad_video"
    assert words in fault.what


def test_a_file_without_frames() -> None:
    fault = refused(of_sound_alone())
    assert fault.reason == "bad_video"
    assert "no frames, only sound" in fault.what


def test_damage_within() -> None:
    data = bytearray(clip("mp4"))
    start = data.index(b"mdat") + 4
    data[start : start + 4000] = b"\x55" * 4000
    fault = refused(bytes(data))
    assert fault.reason == "bad_video"
    assert "the video cannot be decoded: PyAV says: Invalid data" in fault.what


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("setting", "limit", "enough"),
    [
        ("max_minutes", 0.01, 0.04),
        ("max_megapixels", 0.001, 0.01),
        ("max_frames", 23, 24),
        ("max_decode_seconds", 1e-9, 8.0),
    ],
)
def test_limits_name_their_setting(form: str, setting: str, limit: float, enough: float) -> None:
    fault = refused(clip(form), form, **{setting: limit})
    assert fault.reason == "too_large"
    assert fault.setting == f"modalities.video.{setting}"
    assert fault.setting in fault.what
    config = ModalitiesConfig.model_validate({"video": {"size": 16, setting: enough}})
    config.by_name()["video"].codec(None).decode(memoryview(clip(form)), form)


def test_a_clip_that_is_cut_is_not_the_end_of_its_shard(tmp_path: Path) -> None:
    whole = clip("mp4")
    samples = {f"s{number}": {"mp4": whole, "cls": b"1"} for number in range(6)}
    samples["s2"]["mp4"] = whole[:700]
    samples["s3"]["mp4"] = clip("mkv")[:-300]
    write_tar(tmp_path / "x.tar", samples)
    decoder = Decoder.build(ModalitiesConfig.model_validate({"video": {"size": 16}}), None)
    [part] = plan(expand(str(tmp_path / "x.tar")))
    table = decoder.decode(read_part(part), "{}")
    reasons = [error and error["reason"] for error in table["error"].to_pylist()]
    assert reasons == [None, None, "bad_video", "bad_video", None, None]


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    for tree in ({"video": {}}, {"audio": {"fields": ["wav", "mp4"]}}):
        config = ModalitiesConfig.model_validate(tree)
        with pytest.raises(ConfigError, match=r"pip install 'multimodal-pipeline\[video\]'"):
            Decoder.build(config, None)
    Decoder.build(ModalitiesConfig.model_validate({"audio": {}}), None)


def test_a_frame_size_that_changes_is_no_way_around_the_limit() -> None:
    small = encode([picture(0, 32, 32)] * 3, "mjpeg")
    large = encode([picture(0, 640, 480)] * 3, "mjpeg")
    fault = refused(small + large, "mjpeg", max_megapixels=0.1)
    assert fault.setting == "modalities.video.max_megapixels"


def test_a_clip_that_needs_more_memory_than_decoding_may_take() -> None:
    # More than the limit, which counts from what a process holds before it decodes.
    large = encode([picture(index, 8192, 4096) for index in range(2)], "mjpeg")
    modalities = ModalitiesConfig.model_validate(
        {"video": {"size": 16, "frames": 2, "max_megapixels": 40}}
    )
    errors = []
    for limits in (Limits(isolate=False), Limits(decode_memory_bytes=96 << 20)):
        decoder = Decoder.build(modalities, None, limits=limits)
        errors += decode_alone(decoder, {"mjpeg": large})["error"].to_pylist()
    assert errors[0] is None
    assert errors[1]["reason"] in ("too_large", "decoder_memory")
    assert errors[1]["setting"] == "limits.decode_memory_bytes"
