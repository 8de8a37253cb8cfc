"""The sound's signature: other volume, codec and start are found, other sounds are not."""

import io
import itertools

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from pipeline.cleaning.groups import equal_pairs
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio.likeness import BANDS, STEPS, Sounds, correlations, sound_signature

RATE = 16_000
LIMIT = 0.97
CODEC = AudioConfig(sample_rate_hz=RATE, max_seconds=3.0, num_mels=64).codec(None)


def signature(data: bytes, field: str = "wav") -> np.ndarray:
    return sound_signature(CODEC.decode(memoryview(data), field))


def encoded(waveform: np.ndarray, form: str = "WAV", rate: int = RATE, **options: object) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, waveform, rate, format=form, **options)
    return data.getvalue()


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(Sounds(np.stack([first, second]), LIMIT).alike(np.array([0]), np.array([1]))[0])


def speech(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Syllables: a buzz through resonances that change, with pauses; the same spectrum on the whole for all seeds."""
    chance = np.random.default_rng(seed)
    pieces = []
    while sum(map(len, pieces)) < seconds * RATE:
        length = int(chance.integers(1200, 3600))
        pitch = chance.uniform(90, 220)
        buzz = np.sign(np.sin(2 * np.pi * pitch * np.arange(length) / RATE)) + chance.normal(
            0, 0.1, length
        )
        for centre in (
            chance.uniform(300, 900),
            chance.uniform(900, 2600),
            chance.uniform(2400, 3500),
        ):
            angle, radius = 2 * np.pi * centre / RATE, 0.97
            buzz = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], buzz)
        pieces += [buzz * np.hanning(length), np.zeros(int(chance.integers(0, 1500)))]
    waveform = np.concatenate(pieces)[: int(seconds * RATE)]
    return 0.5 * waveform / np.abs(waveform).max()


def test_changed_copies_are_alike_and_others_are_not() -> None:
    sounds = [speech(seed) for seed in range(12)]
    own = [signature(encoded(each)) for each in sounds]
    for waveform, mine in zip(sounds, own, strict=True):
        quiet = np.random.default_rng(0).normal(0, 0.0003, len(waveform))
        copies = {
            "quieter": signature(encoded(0.1 * waveform)),
            "louder": signature(encoded(1.9 * waveform)),
            "later": signature(encoded(np.concatenate([np.zeros(1600), waveform]))),
            "noise": signature(encoded(waveform + quiet)),
            "flac": signature(encoded(waveform, "FLAC"), "flac"),
            "ogg": signature(encoded(waveform, "OGG"), "ogg"),
            "mp3": signature(encoded(waveform, "MP3"), "mp3"),
            "8 bits": signature(encoded(waveform, subtype="PCM_U8")),
        }
        for name, copy in copies.items():
            assert alike(mine, copy), name
    for first, second in itertools.combinations(own, 2):
        assert not alike(first, second)


def test_length_counts() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    assert not alike(signature(encoded(tone)), signature(encoded(tone[:RATE])))
    assert alike(signature(encoded(tone)), signature(encoded(tone[: 2 * RATE - 800])))
    assert not alike(
        signature(encoded(tone)), signature(encoded(0.5 * np.sin(2 * np.pi * 880 * time)))
    )


def test_silence_is_like_silence() -> None:
    silence, tone = np.zeros(RATE), 0.5 * np.sin(np.arange(RATE))
    assert alike(signature(encoded(silence)), signature(encoded(silence)))
    assert not alike(signature(encoded(silence)), signature(encoded(tone)))


def test_coarse_spectrogram_by_definition() -> None:
    chance = np.random.default_rng(2)
    decibels = chance.uniform(-70, 0, (40, 50)).astype(np.float32)
    floor = decibels.max() - 60
    levels = np.maximum(decibels, floor) - floor
    # Every value becomes so many that both grids divide it.
    fine = np.repeat(np.repeat(levels, 4, axis=0), 4, axis=1)
    coarse = fine.reshape(BANDS, 40 * 4 // BANDS, STEPS, 50 * 4 // STEPS).mean(axis=(1, 3))
    found = sound_signature(decibels)
    expected = coarse.reshape(-1) * 255 / 60
    assert np.abs(found[: BANDS * STEPS] - expected).max() <= 0.501
    assert found[BANDS * STEPS :].tolist() == [50, 0]


def test_correlations() -> None:
    chance = np.random.default_rng(4)
    left, right = chance.integers(0, 256, (2, 30, 256), dtype=np.uint8)
    right[0] = left[0]
    left[1] = right[1] = 7
    left[2] = 7
    found = correlations(left, right)
    for row in range(3, 30):
        assert found[row] == pytest.approx(np.corrcoef(left[row], right[row])[0, 1], abs=1e-5)
    assert found[:3].tolist() == pytest.approx([1, 1, 0], abs=1e-6)


def test_tables_find_copies_among_sounds_of_one_kind() -> None:
    """Sounds whose spectra have much in common, as those of speech do."""
    chance = np.random.default_rng(6)
    count = 3000
    profile = np.linspace(200, 60, BANDS).repeat(STEPS)
    spectra = profile + chance.normal(size=(count, 24)) @ chance.normal(0, 14, (24, 256))
    spectra[count // 2 :] = spectra[: count // 2] + chance.normal(0, 3, (count // 2, 256))
    rows = np.zeros((count, 258), dtype=np.uint8)
    rows[:, :256] = np.clip(spectra, 0, 255)
    sounds = Sounds(rows, LIMIT)
    compared = 0
    found = np.zeros(count // 2, dtype=bool)
    for keys in sounds.tables():
        for left, right in equal_pairs(keys):
            compared += len(left)
            found[left[right - left == count // 2]] = True
    assert found.mean() > 0.98
    assert compared < 0.1 * count**2, "far fewer than all pairs"
