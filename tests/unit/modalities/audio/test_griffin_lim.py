"""The way back from log-mel: each step against librosa or brute force, and the mel of what comes out."""

import io
import wave

import librosa
import numpy as np
import pytest
import soundfile
import torch
from scipy.optimize import nnls

from pipeline.modalities.audio.griffin_lim import griffin_lim, with_phases
from pipeline.modalities.audio.griffin_lim.frames import Frames
from pipeline.modalities.audio.griffin_lim.spectrum import magnitudes
from pipeline.modalities.audio.mel import LogMel, mel_filters
from pipeline.modalities.audio.wav import read_wav, write_wav
from pipeline.modalities.chance import Chance

RATE, LENGTH, WINDOW, HOP, MELS = 16000, 16000, 400, 160, 40


def voice(seed: int = 0, length: int = LENGTH) -> np.ndarray:
    """A gliding tone with overtones that swells and fades, and a little noise."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(length) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 60 * np.sin(3 * seconds + seed)) / RATE
    tone = sum(np.sin(order * phase) / order for order in range(1, 12))
    swell = np.sin(np.pi * seconds / seconds[-1]) ** 2
    sound: np.ndarray = 0.1 * swell * tone + 1e-3 * rng.standard_normal(length)
    return sound.astype(np.float32)


def decibels_of(*sounds: np.ndarray) -> torch.Tensor:
    kernel = LogMel(RATE, LENGTH, WINDOW, HOP, MELS)
    return torch.from_numpy(np.stack([kernel.decibels(sound) for sound in sounds]))


def resynthesized(
    decibels: torch.Tensor, iterations: int = 32, chance: Chance | None = None
) -> torch.Tensor:
    return griffin_lim(
        decibels,
        sample_rate_hz=RATE,
        num_samples=LENGTH,
        window=WINDOW,
        hop=HOP,
        iterations=iterations,
        chance=chance,
    )


@pytest.mark.parametrize(("window", "hop", "length"), [(400, 160, 16000), (551, 220, 6000)])
@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_as_librosa_from_the_same_phases(
    window: int, hop: int, length: int, momentum: float
) -> None:
    sound = voice(length=length)
    spectrum = np.abs(librosa.stft(sound, n_fft=window, hop_length=hop, pad_mode="constant"))
    num_frames = spectrum.shape[1]
    expected = librosa.griffinlim(
        spectrum,
        n_iter=6,
        hop_length=hop,
        n_fft=window,
        length=length,
        pad_mode="constant",
        momentum=momentum,
        init=None,
    )
    frames = Frames(window, hop, num_frames, length)
    ours = with_phases(torch.from_numpy(spectrum)[None], frames, 6, momentum)[0].numpy()
    inside = slice(window, length - window)  # librosa's edges are padded, and hear other zeros
    assert np.abs(ours - expected)[inside].max() <= 1e-4 * np.abs(expected).max()


def test_frames_are_those_of_log_mel_and_join_to_the_sound() -> None:
    sound = voice()
    frames = Frames(WINDOW, HOP, 1 + LENGTH // HOP, LENGTH)
    spectra = frames.cut(torch.from_numpy(sound)[None])
    power = spectra[0].abs().numpy() ** 2
    mel = 10 * np.log10(np.maximum(mel_filters(RATE, WINDOW, MELS) @ power, 1e-10))
    mel = np.maximum(mel, mel.max() - 80)
    assert np.abs(mel - decibels_of(sound)[0].numpy()).max() <= 0.01
    assert np.abs(frames.join(spectra)[0].numpy() - sound).max() <= 1e-5


def test_magnitudes_are_the_least_squares_that_are_not_negative() -> None:
    decibels = decibels_of(voice())
    filters = mel_filters(RATE, WINDOW, MELS).astype(float)
    mel = 10 ** (decibels[0].numpy().astype(float) / 10)
    power = magnitudes(decibels, RATE, WINDOW)[0].numpy().astype(float) ** 2
    assert (power >= 0).all()
    for frame in range(0, mel.shape[1], 20):
        least = nnls(filters, mel[:, frame])[1]
        ours = np.linalg.norm(filters @ power[:, frame] - mel[:, frame])
        assert ours <= least + 0.02 * np.linalg.norm(mel[:, frame])


def test_the_mel_of_the_sound_is_near_what_was_asked() -> None:
    asked = decibels_of(voice(0), voice(1))
    heard = decibels_of(*resynthesized(asked).numpy())
    loud = asked > asked.amax(dim=(1, 2), keepdim=True) - 40
    assert (heard - asked).abs()[loud].mean() <= 2.5


def test_more_iterations_come_nearer() -> None:
    asked = decibels_of(voice())
    loud = asked > asked.max() - 40
    errors = [
        float(
            (decibels_of(resynthesized(asked, iterations=count)[0].numpy()) - asked)
            .abs()[loud]
            .mean()
        )
        for count in (0, 8, 64)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_the_same_sound_in_any_batch_and_loudness_is_kept() -> None:
    asked = decibels_of(voice(0), 1e-4 * voice(1), voice(2))
    seeds = torch.tensor([5, 6, 7])
    together = resynthesized(asked, chance=Chance(seeds))
    alone = torch.cat(
        [resynthesized(asked[i : i + 1], chance=Chance(seeds[i : i + 1])) for i in range(3)]
    )
    assert torch.allclose(together, alone, atol=1e-5, rtol=1e-3)
    assert torch.equal(together, resynthesized(asked, chance=Chance(seeds)))
    assert not torch.allclose(together, resynthesized(asked), atol=1e-3)
    assert 0.3 < float(together[1].square().mean().sqrt()) / (1e-4 * voice(1).std()) < 3


def test_silence_stays_silent_and_finite() -> None:
    sounds = resynthesized(torch.full((1, MELS, 1 + LENGTH // HOP), -100.0))
    assert sounds.shape == (1, LENGTH)
    assert sounds.isfinite().all()
    assert sounds.abs().max() < 1e-4


def test_wav_is_what_others_read() -> None:
    sound = np.clip(voice() * 20, -1.5, 1.5)
    data = write_wav(sound, RATE)
    cut = np.clip(sound, -1, 1 - 2**-15)
    waves = read_wav(memoryview(data), "wav")
    assert waves is not None
    assert waves.rate_hz == RATE
    assert waves.remark is None
    assert np.abs(waves.mono(LENGTH) - cut).max() <= 2**-16
    theirs, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE
    assert np.array_equal(theirs, waves.mono(LENGTH))
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:4] == (1, 2, RATE, LENGTH)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_wav_of_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        write_wav(np.array([0.0, bad], np.float32), RATE)
