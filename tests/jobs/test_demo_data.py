import io
import json
import re
import tarfile

import numpy as np
import pytest
import soundfile
from PIL import Image

from jobs.demo_source.data import make_demo_data, make_demo_source

pytest.importorskip("espeakng_loader", reason="the demo's voices are an extra")

from jobs.demo_source import images, sentences, speech

NUM_SAMPLES = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    make_demo_data(folder, seed=5, num_samples=NUM_SAMPLES)
    return folder


@pytest.fixture(scope="module")
def samples(folder):
    found = {}
    for path in sorted(folder.glob("demo-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, name = member.name.split(".")
                found.setdefault((path.name.split("-")[1], key), {})[name] = tar.extractfile(
                    member
                ).read()
    return found


def test_every_scan_is_in_one_split(samples):
    keys = [key for _, key in samples]
    assert sorted(keys) == [f"{index:04d}" for index in range(NUM_SAMPLES)]
    assert {split for split, _ in samples} == {"train", "val", "test"}
    scans = [json.loads(sample["json"])["scan"] for sample in samples.values()]
    assert len(set(scans)) == NUM_SAMPLES


def test_fields_are_what_is_promised(samples):
    _, digits = images.load_scans()
    for (_, key), sample in samples.items():
        assert sample["cls"] == str(digits[int(key)]).encode()
        details = json.loads(sample["json"])
        absent = {"image": "png", "audio": "wav", "text": "txt"}
        assert {absent[name] for name in details["missing"]} == set(absent.values()) - set(sample)
        if "png" in sample:
            image = Image.open(io.BytesIO(sample["png"]))
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))
        if "wav" in sample:
            info = soundfile.info(io.BytesIO(sample["wav"]))
            assert (info.samplerate, info.frames, info.subtype) == (16_000, 16_000, "PCM_16")


def test_something_is_always_intact_and_no_modality_always_is(samples):
    details = [json.loads(sample["json"]) for sample in samples.values()]
    assert all(len(d["missing"]) + len(d["degraded"]) < 3 for d in details)
    for modality in ("image", "audio", "text"):
        degraded = sum(modality in d["degraded"] for d in details)
        assert 0.2 < degraded / NUM_SAMPLES < 0.45
        assert any(modality in d["missing"] for d in details)


def test_sentences_say_the_digit_unless_degraded(samples):
    for sample in samples.values():
        if "txt" not in sample:
            continue
        details = json.loads(sample["json"])
        words = sentences.LANGUAGES[details["text_language"]].digits
        text, digit = sample["txt"].decode(), int(sample["cls"])
        if "text" in details["degraded"]:
            assert details["text_names"] != digit
        else:
            assert details["text_names"] == digit
            assert words[digit] in text


def test_captions_say_the_digit_in_english(samples):
    for sample in samples.values():
        captions = json.loads(sample["json"])["captions"]
        word = sentences.LANGUAGES["en"].digits[int(sample["cls"])]
        assert len(set(captions)) == 5
        assert all(word in caption for caption in captions)


def test_the_spoken_word_is_the_digit_in_the_language_of_the_voice(samples):
    words = {"en-us": "en", "cmn": "zh", "es": "es", "de": "de"}
    for sample in samples.values():
        details = json.loads(sample["json"])
        language = words[details["voice"]["language"]]
        assert details["spoken"] == sentences.LANGUAGES[language].digits[int(sample["cls"])]


@pytest.mark.parametrize("language", sentences.LANGUAGES)
def test_silent_sentences_name_no_number(language):
    words = sentences.LANGUAGES[language]
    assert len(set(words.digits)) == 10
    is_spaced = language not in ("zh", "ja")
    for sentence in words.silent:
        found = re.findall(r"\w+", sentence.lower()) if is_spaced else list(sentence)
        assert not set(found) & set(words.digits)
        assert not any(letter.isdigit() for letter in sentence)
    assert all(sentence.count("{}") == 1 for sentence in words.naming)


def test_same_arguments_same_bytes(folder, tmp_path):
    make_demo_data(tmp_path, seed=5, num_samples=NUM_SAMPLES)
    # Packing remembers when its source was written.
    one, other = (
        {path.name: path.read_bytes() for path in place.iterdir() if path.name != "demo.pack.json"}
        for place in (folder, tmp_path)
    )
    assert one == other
    assert all(re.fullmatch(r"demo-(train|val|test)-\d{6}\.tar|_demo\.json", n) for n in one)


def test_second_call_does_nothing_until_something_is_wrong(tmp_path):
    make_demo_data(tmp_path, seed=1, num_samples=12)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    make_demo_data(tmp_path, seed=1, num_samples=12)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    shard = tmp_path / "demo-train-000000.tar"
    whole = shard.read_bytes()
    shard.unlink()
    make_demo_data(tmp_path, seed=1, num_samples=12)
    assert shard.read_bytes() == whole
    make_demo_data(tmp_path, seed=2, num_samples=12)
    assert shard.read_bytes() != whole


def test_source_is_a_table_of_files(tmp_path):
    table = make_demo_source(tmp_path, seed=1, num_samples=6)
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    assert [row["key"] for row in rows] == [f"{index:04d}" for index in range(6)]
    named = {row[name] for row in rows for name in ("image", "audio") if name in row}
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")}
    assert named == there


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 20.0])
def test_noise_is_as_loud_as_asked(snr_db):
    rng = np.random.default_rng(3)
    speech_only = np.sin(np.arange(16_000) * 0.3).astype(np.float32)  # fills the whole second
    mixed = speech.record(speech_only, snr_db, rng).astype(np.float64)
    share = np.dot(mixed, speech_only) / np.dot(speech_only, speech_only)
    noise = mixed - share * speech_only
    measured = 10 * np.log10(np.mean((share * speech_only) ** 2) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=1.0)


def test_every_voice_speaks_every_digit():
    with speech.Speaker() as speaker:
        for language in speech.LANGUAGES:
            for variant in speech.VARIANTS:
                spoken = [
                    speaker.say(str(digit), speech.Voice(language, variant, 130, 50))
                    for digit in range(10)
                ]
                assert all(1600 < len(audio) <= 16_000 for audio in spoken)
                assert all(np.abs(audio).max() > 0.05 for audio in spoken)


def test_a_new_speaker_says_the_same():
    def speak():
        with speech.Speaker() as speaker:
            return [
                speaker.say(str(digit), speech.Voice("es", variant, 170, 50))
                for variant in speech.VARIANTS
                for digit in (7, 7, 3)
            ]

    for one, other in zip(speak(), speak(), strict=True):
        np.testing.assert_array_equal(one, other)
