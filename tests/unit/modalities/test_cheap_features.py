"""What cheap models see of a modality, against loops."""

import itertools

import numpy as np
import pytest

from pipeline.modalities.audio.mel import cepstrum, track_statistics
from pipeline.modalities.image.cheap import small_pixels
from pipeline.modalities.vector.cheap import statistics
from pipeline.modalities.video.measure import small_frames

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [8, 16, 28, 64])
def test_small_pixels_are_means_of_blocks(size: int) -> None:
    images = RNG.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    side = min(16, size)
    edges = [place * size // side for place in range(side)] + [size]
    by_hand = [
        [
            images[index, top:bottom, left:right].astype(float).mean(axis=(0, 1))
            for top, bottom in itertools.pairwise(edges)
            for left, right in itertools.pairwise(edges)
        ]
        for index in range(2)
    ]
    np.testing.assert_allclose(small_pixels(images), np.reshape(by_hand, (2, -1)), rtol=1e-5)


def test_the_cepstrum_is_a_sum_of_cosines() -> None:
    mel = RNG.normal(-30, 10, (40, 12)).astype(np.float32)
    bins = np.arange(40)
    by_hand = [
        (2 / 40 if order else 1 / 40) ** 0.5
        * (mel * np.cos(np.pi * order * (2 * bins + 1) / 80)[:, None]).sum(axis=0)
        for order in range(20)
    ]
    np.testing.assert_allclose(cepstrum(mel), by_hand, rtol=1e-4, atol=1e-4)
    assert cepstrum(mel[:8]).shape == (8, 12)


def test_statistics_of_a_sound_leave_its_padding_out() -> None:
    sound = RNG.normal(-30, 10, (8, 20)).astype(np.float16)
    padded = np.concatenate([sound, np.full((8, 15), sound.min())], axis=1)
    rows = track_statistics(padded[None])
    np.testing.assert_allclose(rows, track_statistics(sound[None]), rtol=1e-6)
    assert rows.shape == (1, 2 * 8 + 6 * 8)
    np.testing.assert_allclose(rows[0, :8], sound.astype(np.float32).mean(axis=1), rtol=1e-3)
    assert np.isfinite(track_statistics(np.zeros((1, 8, 5), np.float16))).all(), "silence"


def test_statistics_of_a_series_leave_missing_values_out() -> None:
    series = RNG.normal(size=(3, 9, 2)).astype(np.float32)
    real = RNG.random(series.shape) < 0.7
    real[0, :, 0] = False
    values = np.stack([np.where(real, series, 99), real], axis=1).astype(np.float32)
    found = statistics(values).reshape(3, 5, 2)
    for sample in range(3):
        for channel in range(2):
            there = real[sample, :, channel]
            numbers = series[sample, there, channel].astype(float)
            expected = np.zeros(5)
            if len(numbers):
                steps = [
                    abs(series[sample, step + 1, channel] - series[sample, step, channel])
                    for step in range(8)
                    if there[step] and there[step + 1]
                ]
                mean = numbers.mean()
                expected = np.array(
                    [mean, numbers.std(), numbers.min() - mean, numbers.max() - mean,
                     np.mean(steps) if steps else 0.0]
                )  # fmt: skip
            np.testing.assert_allclose(found[sample, :, channel], expected, rtol=1e-4, atol=1e-5)
    features = np.stack([np.array([[1, 2.0]]), np.array([[1, 0]])], axis=1)
    assert statistics(features).tolist() == [[1.0, 0.0]]


def test_a_clip_is_its_mean_frame_and_its_changes() -> None:
    clip = RNG.integers(1, 256, (1, 4, 8, 8, 3), dtype=np.uint8)
    clip[0, 3] = 0
    frames = clip[0, :3].astype(float)
    by_hand = [frames.mean(axis=0), np.abs(np.diff(frames, axis=0)).mean(axis=0)]
    np.testing.assert_allclose(small_frames(clip)[0], np.reshape(by_hand, -1), rtol=1e-5)
