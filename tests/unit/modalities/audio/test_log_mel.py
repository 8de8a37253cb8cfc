"""Our log-mel against brute force, and against itself when its room is used again; test_codecs.py has librosa's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.modalities.audio.mel import AMIN, TOP_DB, LogMel, mel_filters


def brute_force(
    sound: np.ndarray, rate: int, length: int, window: int, hop: int, mels: int
) -> np.ndarray:
    """The definition in float64: one frame, one product with the Fourier matrix after the other."""
    padded = np.zeros(window + length + window)
    padded[window // 2 : window // 2 + len(sound)] = sound
    steps = np.arange(window)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * steps / window)
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(window // 2 + 1), steps) / window)
    filters = mel_filters(rate, window, mels).astype(float)
    columns = []
    for frame in range(1 + length // hop):
        part = padded[frame * hop : frame * hop + window] * taper
        columns.append(filters @ np.abs(fourier @ part) ** 2)
    power = np.maximum(np.stack(columns, 1), AMIN)
    decibels = 10 * np.log10(power)
    return np.maximum(decibels, decibels.max() - TOP_DB)


def noise(count: int, seed: int = 0, loudness: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, loudness, count).astype(np.float32)


CASES = [
    (16000, 9000, 400, 160, 80),
    (8000, 8000, 200, 80, 40),
    (22050, 6000, 551, 220, 64),  # an odd window
    (44100, 9001, 1102, 441, 128),
    (4000, 900, 100, 40, 51),  # filters without a single bin
    (16000, 100, 400, 160, 20),  # shorter than a window
    (16000, 120_000, 400, 160, 16),  # several stretches
]


@pytest.mark.parametrize("case", CASES)
def test_as_brute_force(case: tuple[int, int, int, int, int]) -> None:
    rate, length, window, hop, mels = case
    kernel = LogMel(rate, length, window, hop, mels)
    for sound in (
        noise(length),
        noise(length // 3, seed=1),
        noise(0),
        noise(length, loudness=1e-6),
    ):
        ours = kernel.decibels(sound)
        expected = brute_force(sound, rate, length, window, hop, mels)
        assert ours.shape == expected.shape == (mels, 1 + length // hop)
        assert np.abs(ours - expected).max() <= 0.02


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(0, 4000), min_size=2, max_size=5))
def test_nothing_is_left_of_the_sound_before(lengths: list[int]) -> None:
    used = LogMel(8000, 4000, 200, 80, 24)
    for seed, length in enumerate(lengths):
        sound = noise(length, seed)
        fresh = LogMel(8000, 4000, 200, 80, 24).decibels(sound)
        np.testing.assert_array_equal(used.decibels(sound), fresh)


def test_half_precision_is_rounded_to_the_nearest() -> None:
    kernel = LogMel(8000, 8000, 200, 80, 40)
    for loudness in (1e-4, 0.1, 1.0, 30.0, 1e4):
        sound = noise(8000, loudness=loudness)
        halves = np.empty((40, 101), np.float16)
        kernel.write(sound, halves)
        exact = kernel.decibels(sound)
        expected = exact.astype(np.float16)
        differ = halves != expected
        assert differ.mean() < 0.01, "only where two are nearly as near"
        nearest = np.abs(expected.astype(float) - exact)
        assert (np.abs(halves.astype(float) - exact) <= nearest + 1e-5).all()


def test_decibels_around_nought() -> None:
    """Values too small for a normal float16, of either sign."""
    kernel = LogMel(8000, 800, 200, 80, 8)
    tones = np.sin(np.arange(800) / 5).astype(np.float32)
    low, high = 0.001, 10.0
    for _ in range(60):  # the loudness whose loudest value is 0 dB
        loudness = np.float32((low * high) ** 0.5)
        low, high = (
            (low, loudness) if kernel.decibels(tones * loudness).max() > 0 else (loudness, high)
        )
    halves = np.empty((8, 11), np.float16)
    for near in (low, high, low * 0.99999, high * 1.00001):
        kernel.write(tones * np.float32(near), halves)
        exact = kernel.decibels(tones * np.float32(near))
        assert np.abs(halves.astype(float) - exact).max() <= 0.04
        assert abs(float(halves.max())) < 0.01


@pytest.mark.parametrize("loudness", [1e10, 1e18, 1e30, 3e38])
def test_absurd_loudness_stays_finite(loudness: float) -> None:
    kernel = LogMel(8000, 4000, 200, 80, 24)
    sound = np.clip(noise(4000, loudness=0.2), -1, 1)
    expected = kernel.decibels(sound).astype(float) + 20 * np.log10(loudness)
    absurd = kernel.decibels(sound * np.float32(loudness))
    assert np.abs(absurd - expected).max() <= 0.02
    halves = np.empty((24, 51), np.float16)
    kernel.write(sound * np.float32(loudness), halves)
    assert np.isfinite(halves).all()
