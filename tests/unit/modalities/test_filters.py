"""Filters: which good members are left out, why, and what that has to do with the rest of the settings."""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter
from typing import get_args

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.tones import png, wav

from pipeline.config import validate
from pipeline.errors import ConfigError, SampleError
from pipeline.modalities import ModalitiesConfig, kinds
from pipeline.modalities.audio.filters import clipped_fraction, silence_fraction
from pipeline.modalities.image.filters import contrast
from pipeline.modalities.text import Script
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.modalities.text.filters import repetition, script, script_fraction
from pipeline.reports.cleaning import REASONS as LIMIT_REASONS
from pipeline.sample import FILTERS, REASONS

TOKENIZER = train_tokenizer(["a tone"], 300)


def reason(modality: str, field: str, data: bytes, **limits: object) -> str | None:
    """Why a member is left out; None where it is decoded."""
    config = ModalitiesConfig.model_validate({modality: {"filter": limits}}).by_name()[modality]
    try:
        config.codec(TOKENIZER).decode(memoryview(data), field)
    except SampleError as error:
        return error.reason if error.field == field else f"the field is {error.field}"
    return None


def picture(width: int, height: int, noise: int = 80, form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(0).integers(128 - noise, 128 + noise + 1, (height, width, 3))
    data = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(data, form)
    return data.getvalue()


def sound(waveform: np.ndarray, form: str = "WAV", rate: int = 8000) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, waveform, rate, format=form)
    return data.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_images(form: str) -> None:
    field = form.lower()[:3] if form == "PNG" else "jpg"
    small, long = picture(40, 20, form=form), picture(400, 40, form=form)
    assert reason("image", field, small, min_side=20) is None
    assert reason("image", field, small, min_side=21) == "filtered_size"
    assert reason("image", field, long, max_aspect=10) is None
    assert reason("image", field, long, max_aspect=9.9) == "filtered_aspect"
    assert reason("image", field, small, min_contrast=0.05) is None
    blank = picture(300, 300, noise=1, form=form)
    assert reason("image", field, blank, min_contrast=0.01) == "filtered_blank"
    assert reason("image", "png", b"no image", min_side=1000) == "bad_image", "damage comes first"


def test_contrast_of_all_pixels() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    luma = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in pixels.reshape(-1, 3).astype(float)]
    assert contrast(pixels) == pytest.approx(np.std(luma) / 255, rel=1e-4)
    halves = np.zeros((1000, 600, 3), dtype=np.uint8)
    halves[:, 300:] = 255
    assert contrast(halves) == pytest.approx(0.5)


def test_sounds() -> None:
    rate = 8000
    time = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    assert reason("audio", "wav", sound(tone), min_seconds=1, max_seconds=1) is None
    for form, field in (("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg")):
        assert reason("audio", field, sound(tone, form), min_seconds=1.1) == "filtered_duration"
        assert reason("audio", field, sound(tone, form), max_seconds=0.9) == "filtered_duration"
    half = np.where(time < 0.5, tone, 0)
    assert reason("audio", "wav", sound(half), max_silence_fraction=0.55) is None
    assert reason("audio", "wav", sound(half), max_silence_fraction=0.45) == "filtered_silence"
    assert reason("audio", "wav", sound(0 * tone), max_silence_fraction=0.99) == "filtered_silence"
    loud = np.clip(20 * tone, -1, 1)
    assert reason("audio", "wav", sound(tone), max_clipped_fraction=0) is None
    assert reason("audio", "wav", sound(loud), max_clipped_fraction=0.1) == "filtered_clipping"
    assert reason("audio", "wav", wav()[:100], max_seconds=0.01) == "bad_audio", "damage first"


def test_silence_and_clipping_one_by_one() -> None:
    chance = np.random.default_rng(3)
    waveform = (
        chance.normal(size=2047) * np.repeat(chance.random(2047 // 89 + 1), 89)[:2047]
    ).astype(np.float32) ** 3
    size, loudness = 25, []
    starts = list(range(0, 2047 - size + 1, size))
    for start in starts:
        stretch = waveform[start : None if start == starts[-1] else start + size]
        loudness.append(np.sqrt(np.mean([float(one) ** 2 for one in stretch])))
    silent = sum(each < max(loudness) / 100 for each in loudness) / len(loudness)
    assert silence_fraction(waveform, 1000) == pytest.approx(silent)
    assert 0 < silent < 1
    assert clipped_fraction(waveform) == sum(abs(one) >= 0.999 for one in waveform) / 2047


def test_texts() -> None:
    def text(value: str, **limits: object) -> str | None:
        return reason("text", "txt", value.encode(), **limits)

    assert text("four", min_characters=4, max_characters=4) is None
    assert text("four", min_characters=5) == "filtered_length"
    assert text("四个字符", max_characters=3) == "filtered_length", "characters, not bytes"
    assert text("buy now buy now buy now", max_repetition=0.2) == "filtered_repetition"
    assert text("the quick brown fox jumps over the lazy dog", max_repetition=0.2) is None
    assert text("买买买买买买买买", max_repetition=0.2) == "filtered_repetition"
    assert text("a tone 音", scripts=["Latin"]) is None
    assert text("высокий тон", scripts=["Latin", "Han"]) == "filtered_script"
    assert text("12 + 34 = 46 !", scripts=["Latin"]) is None, "no letters, no script"


def brute_force_repetition(text: str) -> float:
    unspaced = (
        "\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    )
    words = re.findall(f"[{unspaced}]|[^\\W{unspaced}]+", text.lower())
    largest = 0
    for size in (2, 3, 4):
        phrases = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
        counts = Counter(phrases)
        for phrase, count in counts.items():
            if count > 1 and count == max(counts.values()):
                inside = {
                    i + k for i, each in enumerate(phrases) if each == phrase for k in range(size)
                }
                largest = max(largest, sum(len(words[i]) for i in inside))
    return largest / max(1, sum(map(len, words)))


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "好", "d!"]), max_size=30))
def test_repetition_by_brute_force(words: list[str]) -> None:
    text = " ".join(words)
    assert repetition(text) == pytest.approx(brute_force_repetition(text))
    assert 0 <= repetition(text) <= 1


def test_every_script_has_letters() -> None:
    letters = map(chr, itertools.chain(range(0x3300), range(0x4E00, 0x4E10), range(0xA000, 0xD7A4)))
    there = {script(letter) for letter in letters if letter.isalpha()}
    assert set(get_args(Script)) <= there
    assert script("Ａ") == "Latin"
    assert script("ｶ") == "Katakana"
    assert script_fraction("ab漢字かな", ["Han", "Hiragana"]) == pytest.approx(4 / 6)


def test_every_limit_has_a_reason() -> None:
    limits = {
        f"{kind}.{limit}"
        for kind, section in kinds().items()
        for limit in type(section.model_fields["filter"].default).model_fields
    }
    assert limits == set(LIMIT_REASONS)
    assert set(LIMIT_REASONS.values()) < set(FILTERS)
    assert not set(FILTERS) & set(REASONS)


def test_what_is_unset_leaves_the_identity_as_it_was() -> None:
    plain = ModalitiesConfig.model_validate({"image": {}, "text": {}})
    unset = ModalitiesConfig.model_validate({"image": {"filter": {"min_side": None}}, "text": {}})
    some = ModalitiesConfig.model_validate({"image": {"filter": {"min_side": 32}}, "text": {}})
    for exclude_none in (True, False):
        told = plain.decoding(exclude_none=exclude_none)
        assert told == unset.decoding(exclude_none=exclude_none)
        assert "filter" not in told["image"]
        assert some.decoding(exclude_none=exclude_none) != told
        assert some.decoding(exclude_none=exclude_none, filters=False) == told
    assert plain.by_name()["image"].codec(None).limits is None
    assert plain.for_job(some) == some
    assert some.for_job(plain) == plain


def test_wrong_limits_are_named() -> None:
    tree = {"run": "r", "modalities": {"text": {"filter": {"scripts": ["Latn"]}}}}
    with pytest.raises(ConfigError, match=r"modalities\.text\.filter\.scripts"):
        validate(tree)
    tree = {"run": "r", "modalities": {"image": {"filter": {"min_sides": 3}}}}
    with pytest.raises(ConfigError, match=r"did you mean modalities\.image\.filter\.min_side\?"):
        validate(tree)


def test_pngs_of_one_colour_are_blank() -> None:
    assert reason("image", "png", png(), min_contrast=0.01) == "filtered_blank"
