"""Statistics of spectrograms over time, against NumPy and SciPy; and patches that lie behind the end."""

import numpy as np
import torch
from scipy.fft import dct

from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio.encoders.patches import AudioPatches
from pipeline.modalities.audio.encoders.spectrogram import frames_before_end
from pipeline.modalities.audio.encoders.statistics import (
    QUANTILES,
    AudioStatistics,
    cosine_transform,
    num_statistics,
    sound_statistics,
)

MELS, COEFFICIENTS = 12, 5


def sounds(
    frames: int = 30, silent: tuple[int, ...] = (0, 1, 14, 25, 26, 27, 28, 29)
) -> np.ndarray:
    """Two spectrograms, the second with silent frames; float64 (2, F, N), dB."""
    decibels = np.random.default_rng(0).uniform(-60, 0, (2, MELS, frames))
    decibels[:, 3, 7] = 3.0  # the loudest
    decibels[1][:, silent] = 3.0 - 80
    return decibels


def test_statistics_by_definition() -> None:
    decibels = sounds()
    cosines = torch.from_numpy(cosine_transform(MELS, COEFFICIENTS))
    statistics = sound_statistics(torch.from_numpy(decibels), cosines).numpy()
    assert statistics.shape == (2, num_statistics(MELS, COEFFICIENTS))
    for row, sound in enumerate(decibels):
        level = sound - sound.max()
        tracks = np.concatenate([level, dct(level, axis=0, norm="ortho")[:COEFFICIENTS]])
        real = np.flatnonzero(level.max(axis=0) > -79)
        frames = tracks[:, real]
        changes = [tracks[:, at + 1] - tracks[:, at] for at in real if at + 1 in real]
        expected = [
            frames.mean(axis=1),
            frames.std(axis=1),
            *np.quantile(frames, QUANTILES, axis=1),
            np.std(changes, axis=0),
            np.abs(changes).mean(axis=0),
        ]
        np.testing.assert_allclose(statistics[row], np.concatenate(expected), atol=1e-9)


def test_what_a_sound_is_padded_with_says_nothing() -> None:
    cosines = torch.from_numpy(cosine_transform(MELS, COEFFICIENTS))
    short = torch.from_numpy(sounds(silent=()))
    long = torch.cat([short, torch.full((2, MELS, 17), 3.0 - 80, dtype=torch.float64)], dim=2)
    torch.testing.assert_close(
        sound_statistics(short, cosines), sound_statistics(long, cosines), rtol=0, atol=1e-12
    )
    click = torch.full((1, MELS, 4), -80.0, dtype=torch.float64)
    click[:, :, 2] = 0.0
    for sound in (click, torch.zeros_like(click)):
        assert torch.isfinite(sound_statistics(sound, cosines)).all()


def test_statistics_are_standardised_by_the_training_set() -> None:
    section = AudioConfig(num_mels=MELS, max_seconds=0.29, encoder={"kind": "statistics"})
    values = [sound.astype(np.float16) for sound in sounds()]
    collector, model = section.training_statistics(), section.build_encoder(8)
    column = section.codec(None).to_arrow([*values, None])
    collector.add(column)
    model.fit(collector.result())
    assert isinstance(model, AudioStatistics)
    rows = sound_statistics(torch.from_numpy(np.stack(values)).float(), model.cosines)
    torch.testing.assert_close(model.mean, rows.mean(dim=0))
    deviation = rows.std(dim=0, correction=0)
    torch.testing.assert_close(model.deviation, torch.where(deviation > 0, deviation, 1.0))


def test_the_end_is_that_of_the_last_sounding_frame() -> None:
    real = frames_before_end(torch.from_numpy(sounds()))
    assert real[0].all()
    assert real[1].tolist() == [True] * 25 + [False] * 5


def test_patches_behind_the_end_are_not_attended_to() -> None:
    torch.manual_seed(0)
    model = AudioPatches(MELS, 30, 32, patch=4, stride=4, layers=1, dropout=0.0).eval()
    decibels = torch.from_numpy(sounds(silent=tuple(range(13, 30)))).float()
    tokens, mask = model(decibels)
    assert mask.tolist() == [[True] * 8, [True] * 4 + [False] * 4]
    with torch.no_grad():
        model.position.view(model.rows, model.columns, -1)[:, 4:] += 5 * torch.randn(32)
    again = model(decibels).tokens
    torch.testing.assert_close(tokens[1, :4], again[1, :4], rtol=0, atol=0)
    assert not torch.allclose(tokens[0, :4], again[0, :4])


def test_patches_cover_every_bin_and_frame() -> None:
    for bins, frames, patch, stride in (
        (16, 31, 16, 16),
        (17, 5, 4, 3),
        (8, 2, 16, 10),
        (8, 2050, 8, 8),
    ):
        torch.manual_seed(0)
        model = AudioPatches(bins, frames, 8, patch, stride, layers=1, dropout=0.0)
        decibels = -60 * torch.rand(1, bins, frames)
        decibels.requires_grad_()
        (model(decibels).tokens * torch.randn(8)).sum().backward()
        assert decibels.grad is not None
        assert (decibels.grad != 0).float().mean() > 0.99
