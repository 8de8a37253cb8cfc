"""What headers say, against what PyAV finds; nothing is decoded for it."""

from __future__ import annotations

import pytest
from support.clips import FORMS, RATE, clip, of_sound_alone, sounding

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.content import Content, sniff
from pipeline.modalities.facets import Facts, ProbeRules
from pipeline.modalities.video import VideoConfig
from pipeline.modalities.video.containers import read_header


def content(data: bytes) -> Content:
    return Content(len(data), memoryview(data))


@pytest.mark.parametrize("form", FORMS)
def test_headers(form: str) -> None:
    data = clip(form)
    header = read_header(content(data), sniff(data))
    assert header is not None
    assert (header.width, header.height, header.problem) == (64, 48, "")
    assert header.has_video
    assert not header.has_sound
    if form not in ("gif", "mjpeg"):
        assert header.seconds == pytest.approx(24 / RATE, rel=0.05)
        assert header.codec
    if form in ("mp4", "mov", "avi", "gif"):
        assert header.frames == 24


@pytest.mark.parametrize("form", ["mp4", "mkv", "webm", "avi", "mov"])
def test_sound_tracks_are_seen(form: str) -> None:
    data = sounding(form)
    header = read_header(content(data), sniff(data))
    assert header is not None
    assert header.has_sound
    assert header.has_video


def probed(data: bytes, **settings: object) -> Facts:
    config = ModalitiesConfig.model_validate({"video": settings}).by_name()["video"]
    return config.probe(content(data), "mp4", sniff(data), ProbeRules(1 << 20, "full"))


def test_what_lint_is_told() -> None:
    facts = probed(clip("mp4"), size=64, frames=30)
    assert facts.ranges == {
        "width": 64, "height": 48, "seconds": pytest.approx(2, rel=0.05), "frames": 24,
    }  # fmt: skip
    assert facts.values == {"codec": "avc1", "sound": "no"}
    assert facts.notes == ("enlarged", "short")
    assert facts.fault is None
    assert probed(clip("mp4"), rate_hz=8.0, size=32).notes == ("cut",)
    assert probed(of_sound_alone()).fault is not None
    over = probed(clip("mp4"), max_minutes=0.01).fault
    assert over is not None
    assert over.setting == "modalities.video.max_minutes"
    cut = probed(clip("mp4")[:-9]).fault
    assert cut is not None
    assert cut.reason == "bad_video"


def test_init_suggests_a_size() -> None:
    assert VideoConfig.suited_to([memoryview(clip("mp4"))]) == {"size": 64}
    assert VideoConfig.suited_to([memoryview(clip("mp4", width=256, height=200))]) == {}
    assert VideoConfig.suited_to([memoryview(b"nothing")]) == {}


def test_whether_a_film_holds_frames_or_sound_is_read_from_its_header() -> None:
    kinds = {"silent": clip("mp4"), "sounding": sounding("mkv"), "cut": sounding("mp4")[:2000]}
    films = {name: memoryview(data) for name, data in kinds.items()}
    films["sound alone"] = memoryview(of_sound_alone())
    assert {name for name, film in films.items() if VideoConfig.is_in(film)} == {
        "silent", "sounding", "cut",
    }  # fmt: skip
    assert {name for name, film in films.items() if AudioConfig.is_in(film)} == {
        "sounding", "sound alone",
    }  # fmt: skip
    rules = ProbeRules(1 << 20, "full")
    absent = {
        name: AudioConfig().probe(content(bytes(film)), "mp4", sniff(bytes(film)), rules).is_absent
        for name, film in films.items()
    }
    assert absent == {"silent": True, "sounding": False, "cut": False, "sound alone": False}
