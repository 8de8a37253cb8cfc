"""The sound of films: read where a sample has no sound of its own, and missing where a film has none."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.clips import av, clip, sounding
from support.tones import wav, write_tar

from pipeline.engine.cleaning.signing import Signer
from pipeline.errors import Absent, SampleError
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio.codec import AudioCodec, read_mono
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import Field, Sample
from pipeline.shards.planning.plan import expand, plan

FILMS = ("mp4", "mkv", "webm", "avi", "mov")
SETTINGS = {"fields": ["wav", *FILMS], "sample_rate_hz": 8000, "max_seconds": 0.5, "num_mels": 16}


def audio() -> AudioCodec:
    codec = ModalitiesConfig.model_validate({"audio": SETTINGS}).by_name()["audio"].codec(None)
    assert isinstance(codec, AudioCodec)
    return codec


def loudest_hz(waveform: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * rate / len(waveform))


@pytest.mark.parametrize("form", FILMS)
def test_the_tone_of_a_film(form: str) -> None:
    waveform = audio().waveform(memoryview(sounding(form)), form)
    assert loudest_hz(waveform, 8000) == pytest.approx(440, abs=4)
    assert np.abs(waveform).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("form", ["mp4", "avi"])
def test_samples_are_those_of_a_plain_decoder(form: str) -> None:
    data = sounding(form)
    with av.open(io.BytesIO(data)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    sound = read_mono(memoryview(data), form, 60, 60)
    np.testing.assert_array_equal(sound.mono, np.concatenate(blocks))
    assert sound.seconds == pytest.approx(len(sound.mono) / sound.rate_hz)
    part = read_mono(memoryview(data), form, 60, 0.2, whole=False)
    np.testing.assert_array_equal(part.mono, sound.mono[: len(part.mono)])
    assert part.seconds is None


def test_a_sound_of_its_own_comes_first_and_a_silent_film_has_none() -> None:
    decoder = Decoder.build(
        ModalitiesConfig.model_validate({"audio": SETTINGS, "video": {"size": 16, "frames": 2}}),
        None,
    )
    fields = [
        {"mp4": sounding("mp4", 440.0), "wav": wav(1300.0)},
        {"mp4": sounding("mp4", 440.0)},
        {"mp4": clip("mp4")},
    ]
    samples = [
        Sample(
            f"k{number}", "x.tar", number,
            {name: Field(memoryview(data), 0, len(data)) for name, data in sample.items()},
        )
        for number, sample in enumerate(fields)
    ]  # fmt: skip
    table = decoder.decode(samples, "{}")
    assert table["error"].null_count == 3
    assert table["modalities"].to_pylist() == [["audio", "video"], ["audio", "video"], ["video"]]
    assert table["audio"].null_count == 1
    own = audio().decode(memoryview(fields[0]["wav"]), "wav")
    np.testing.assert_array_equal(table["audio"].to_pylist()[0], own.reshape(-1))


def test_a_sample_whose_only_film_has_no_sound_has_nothing() -> None:
    decoder = Decoder.build(ModalitiesConfig.model_validate({"audio": SETTINGS}), None)
    data = clip("mp4")
    sample = Sample("k", "x.tar", 0, {"mp4": Field(memoryview(data), 0, len(data))})
    [error] = decoder.decode([sample], "{}")["error"].to_pylist()
    assert error["reason"] == "no_modality"
    assert error["setting"] == "modalities"


def test_what_is_absent_is_said_so_across_processes() -> None:
    with pytest.raises(Absent) as caught:
        audio().decode(memoryview(clip("mp4")), "mp4")
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), Absent)


def test_a_film_that_is_cut_or_too_long_is_bad() -> None:
    data = sounding("mp4")
    with pytest.raises(SampleError) as caught:
        audio().decode(memoryview(data[:-2000]), "mp4")
    assert caught.value.reason == "bad_audio"
    with pytest.raises(SampleError) as caught:
        read_mono(memoryview(data), "mp4", 0.3, 0.2)
    assert caught.value.setting == "modalities.audio.max_minutes"


def test_near_copies_are_found_among_films_with_and_without_sound(tmp_path: Path) -> None:
    samples = {
        "loud": {"mp4": sounding("mp4")},
        "loud2": {"mkv": sounding("mkv")},
        "still": {"mp4": clip("mp4", 12)},
        "still2": {"mkv": clip("mkv", 12)},
    }
    write_tar(tmp_path / "x.tar", samples)
    films = {"fields": ["mp4", "mkv"]}
    tree = {"audio": {**SETTINGS, **films}, "video": {"size": 32, "frames": 4, **films}}
    modalities = ModalitiesConfig.model_validate(tree)
    decoder = Decoder.build(modalities, None, limits=Limits(isolate=False))
    likenesses = {name: config.likeness() for name, config in modalities.by_name().items()}
    signer = Signer(decoder, str(tmp_path), near=True, likenesses=likenesses)
    [part] = plan(expand(str(tmp_path / "x.tar")))
    assert signer(part) == 4, "a film without sound can be signed too"
