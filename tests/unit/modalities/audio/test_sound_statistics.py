"""Statistics of spectrograms over time, against NumPy and SciPy; and patches that lie behind the end."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.stats import gmean

from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio.encoders.patches import AudioPatches
from pipeline.modalities.audio.encoders.spectrogram import frames_before_end
from pipeline.modalities.audio.encoders.statistics import (
    DESCRIPTIONS,
    AudioStatistics,
    Told,
    cosine_transform,
    sound_statistics,
)
from pipeline.modalities.audio.encoders.tracks import QUANTILES
from pipeline.modalities.audio.encoders.traits import (
    LEAST_MODULATION,
    MODULATIONS_HZ,
    NUM_COSINES,
    OCTAVES,
    ROLLOFFS,
    trait_sizes,
)

MELS, COEFFICIENTS = 12, 5
each_description = pytest.mark.parametrize("told", list(DESCRIPTIONS))
Floats = NDArray[np.float64]


def sounds(
    frames: int = 30, silent: tuple[int, ...] = (0, 1, 14, 25, 26, 27, 28, 29)
) -> np.ndarray:
    """Two spectrograms, the second with silent frames; float64 (2, F, N), dB."""
    decibels = np.random.default_rng(0).uniform(-60, 0, (2, MELS, frames))
    decibels[:, 3, 7] = 3.0  # the loudest
    decibels[1][:, silent] = 3.0 - 80
    return decibels


def over_time(tracks: Floats, real: NDArray[np.int64]) -> Floats:
    """Statistics of tracks (S, N) over the real frames, by their definition."""
    frames = tracks[:, real]
    changes = [tracks[:, at + 1] - tracks[:, at] for at in real if at + 1 in real]
    statistics = [
        frames.mean(axis=1),
        frames.std(axis=1),
        *np.quantile(frames, QUANTILES, axis=1),
        np.std(changes, axis=0),
        np.abs(changes).mean(axis=0),
    ]
    return np.concatenate(statistics)


def test_statistics_by_definition() -> None:
    decibels = sounds()
    cosines = torch.from_numpy(cosine_transform(MELS, COEFFICIENTS))
    statistics = sound_statistics(torch.from_numpy(decibels), cosines).numpy()
    for row, sound in enumerate(decibels):
        level = sound - sound.max()
        tracks = np.concatenate([level, dct(level, axis=0, norm="ortho")[:COEFFICIENTS]])
        expected = over_time(tracks, np.flatnonzero(level.max(axis=0) > -79))
        np.testing.assert_allclose(statistics[row], expected, atol=1e-9)


def shape_by_hand(level: Floats) -> Floats:
    """Tracks of the spectrum's shape, of levels (F, N)."""
    place = np.arange(MELS) / MELS
    frames = []
    for decibels in level.T:
        power = 10 ** (decibels / 10)
        centroid = np.average(place, weights=power)
        spread = np.sqrt(np.average((place - centroid) ** 2, weights=power))
        shares = np.cumsum(power) / power.sum()
        rolloffs = [int(np.searchsorted(shares, part)) / MELS for part in ROLLOFFS]
        slope = np.polyfit(place, decibels, 1)[0]
        flatness = 10 * np.log10(gmean(power) / power.mean())
        third = MELS // 3
        tilt = 10 * np.log10(power[:third].sum() / power[-third:].sum())
        frames.append([centroid, spread, *rolloffs, slope, flatness, tilt])
    return np.array(frames).T


def rhythm_by_hand(energy: Floats, real: NDArray[np.int64]) -> Floats:
    heard = energy[real] - energy[real].mean()
    powers = [
        abs(
            sum(
                h * np.exp(-2j * np.pi * rate * at / 100) for h, at in zip(heard, real, strict=True)
            )
        )
        ** 2
        for rate in MODULATIONS_HZ
    ]
    octaves = np.mean(np.reshape(powers, (OCTAVES, -1)), axis=1) / len(real)
    pause = 1 - len(real) / (real[-1] - real[0] + 1)
    return np.array([*np.log(octaves + LEAST_MODULATION), np.log(len(real)), pause])


def test_traits_by_definition() -> None:
    decibels = sounds()
    cosines = torch.from_numpy(cosine_transform(MELS, COEFFICIENTS))
    statistics = sound_statistics(torch.from_numpy(decibels), cosines, "traits").numpy()
    sizes = trait_sizes(MELS, COEFFICIENTS)
    assert statistics.shape == (2, sum(sizes))
    for row, sound in enumerate(decibels):
        level = sound - sound.max()
        real = np.flatnonzero(level.max(axis=0) > -79)
        coefficients = dct(level, axis=0, norm="ortho")[:COEFFICIENTS]
        energy = 10 * np.log10((10 ** (level / 10)).sum(axis=0))
        steps = np.diff(level, axis=1, prepend=level[:, :1])
        rises = np.maximum(steps, 0).mean(axis=0)
        loudness = np.stack([energy, rises, np.sqrt((steps**2).mean(axis=0))])
        moving = np.concatenate([coefficients, energy[None]])[:, real]
        waves = dct(moving, axis=1)[:, 1 : NUM_COSINES + 1] / (2 * len(real))
        together = np.corrcoef(coefficients[:, real])
        expected = [
            over_time(level, real),
            over_time(coefficients, real),
            over_time(loudness, real),
            over_time(shape_by_hand(level), real),
            rhythm_by_hand(energy, real),
            waves.T.reshape(-1),
            together[np.triu_indices(COEFFICIENTS, 1)],
        ]
        assert tuple(map(len, expected)) == sizes
        cuts = np.cumsum(sizes)[:-1]
        for found, group in zip(np.split(statistics[row], cuts), expected, strict=True):
            np.testing.assert_allclose(found, group, atol=1e-6, rtol=1e-6)


def test_groups_of_traits_count_alike_and_tracks_as_they_are() -> None:
    def weights(told: str) -> torch.Tensor:
        encoder = {"kind": "statistics", "told": told}
        return AudioConfig(num_mels=MELS, encoder=encoder).build_encoder(8).weight

    sizes = trait_sizes(MELS, MELS)
    traits = weights("traits")
    shares = [group.square().sum().item() for group in traits.split(sizes)]
    assert shares == pytest.approx([sum(sizes) / len(sizes)] * len(sizes), rel=1e-5)
    assert torch.equal(weights("tracks"), torch.ones(18 * MELS)), "as bundles have it"


def test_traits_tell_a_rise_from_a_fall_and_fast_from_slow() -> None:
    """What statistics of tracks, which do not know the order of frames, cannot."""
    frames = np.arange(100)
    level = -30.0 + np.zeros((3, MELS, 100))
    level[0] += np.linspace(-20, 20, 100)
    level[1] += 10 * np.sin(2 * np.pi * frames / 100 * 1.5)
    level[2] += 10 * np.sin(2 * np.pi * frames / 100 * 12)
    decibels = torch.from_numpy(np.concatenate([level, level[..., ::-1]]))
    cosines = torch.from_numpy(cosine_transform(MELS, COEFFICIENTS))
    sizes = trait_sizes(MELS, COEFFICIENTS)
    traits = sound_statistics(decibels, cosines, "traits").split(sizes, dim=1)
    rhythm, course = traits[4], traits[5]
    assert rhythm[:, :OCTAVES].argmax(dim=1)[[1, 2]].tolist() == [1, 4], "1 to 2 and 8 to 16 Hz"
    torch.testing.assert_close(rhythm[:3], rhythm[3:])
    first = course[:, : COEFFICIENTS + 1]
    torch.testing.assert_close(first[:3], -first[3:])
    assert first[0, -1] < -5, "the energy rises"


@each_description
def test_what_a_sound_is_padded_with_says_nothing(told: Told) -> None:
    cosines = torch.from_numpy(cosine_transform(MELS, COEFFICIENTS))
    short = torch.from_numpy(sounds(silent=()))
    long = torch.cat([short, torch.full((2, MELS, 17), 3.0 - 80, dtype=torch.float64)], dim=2)
    torch.testing.assert_close(
        sound_statistics(short, cosines, told),
        sound_statistics(long, cosines, told),
        rtol=0,
        atol=1e-9,
    )
    later = torch.cat([long[..., 30:], short], dim=2)
    torch.testing.assert_close(
        sound_statistics(later, cosines, told)[:, : 9 * MELS],
        sound_statistics(short, cosines, told)[:, : 9 * MELS],
        rtol=0,
        atol=1e-9,
    )
    click = torch.full((1, MELS, 4), -80.0, dtype=torch.float64)
    click[:, :, 2] = 0.0
    if told == "traits":
        start = sum(trait_sizes(MELS, COEFFICIENTS)[:5])
        assert not sound_statistics(click, cosines, told)[:, start:].any(), (
            "one frame has no course"
        )
    for sound in (click, torch.zeros_like(click)):
        assert torch.isfinite(sound_statistics(sound, cosines, told)).all()


@each_description
def test_statistics_are_standardised_by_the_training_set(told: Told) -> None:
    encoder = {"kind": "statistics", "told": told}
    section = AudioConfig(num_mels=MELS, max_seconds=0.29, encoder=encoder)
    values = [sound.astype(np.float16) for sound in sounds()]
    collector, model = section.training_statistics(), section.build_encoder(8)
    column = section.codec(None).to_arrow([*values, None])
    collector.add(column)
    model.fit(collector.result())
    assert isinstance(model, AudioStatistics)
    rows = sound_statistics(torch.from_numpy(np.stack(values)).float(), model.cosines, told)
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
