"""Waveform -> log-mel spectrogram, a stretch of frames at a time so that all stays in the cache -> statistics."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pipeline.modalities.audio.fft import load_rfft

AMIN = 1e-10  # floor of the power before the logarithm
TOP_DB = 80.0  # range kept below the loudest value of a sound
STRETCH_FRAMES = 512  # transformed at a time, which bounds what long sounds take: 1.7 MB at 16 kHz
NUM_COEFFICIENTS = 20  # of the cepstrum
EMPTY_DB = 0.5  # above the floor of a spectrogram, below which a frame at the end is padding
BAND_MELS = 16  # mel bins of one matrix product: together they hear only a stretch of the spectrum


def seconds_before_end(decibels: np.ndarray, seconds_per_frame: float) -> np.ndarray:
    """How long spectrograms sound, float64 (B,): what follows is what they were padded with; of silence, all.

    Args:
        decibels: float (B, F, N), dB.
        seconds_per_frame: Of the N frames.
    """
    loudest = decibels.max(axis=(1, 2), keepdims=True, initial=-np.inf)
    sounding = (decibels.max(axis=1) - loudest[:, 0]) > 1.0 - TOP_DB
    behind = np.argmax(sounding[:, ::-1], axis=1)
    seconds: np.ndarray = (sounding.shape[1] - behind) * seconds_per_frame
    return seconds


class LogMel:
    """Log-mel spectrograms of sounds of at most ``num_samples``, with room that is used again.

    As ``librosa.power_to_db(librosa.feature.melspectrogram(...))`` with its defaults: periodic Hann window, centred
    zero padding, Slaney mel scale and area norm, top_db 80. Not for several threads at once.

    Args:
        sample_rate_hz: Rate of the sounds.
        num_samples: Samples of a whole spectrogram (T); what a sound lacks is silence.
        window: Length of the window and of the FFT, in samples.
        hop: Samples between frames.
        num_mels: Mel bins (F).
    """

    def __init__(
        self, sample_rate_hz: int, num_samples: int, window: int, hop: int, num_mels: int
    ) -> None:
        self.hop = hop
        self.before = window // 2
        self.num_frames = 1 + num_samples // hop
        self.padded = np.zeros(self.before + num_samples + window, dtype=np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self.padded, window)
        self.frames = windows[::hop][: self.num_frames]
        self.window = hann(window)
        self.windowed = np.empty((STRETCH_FRAMES, window), dtype=np.float32)
        self.power = np.empty((STRETCH_FRAMES, window // 2 + 1), dtype=np.float32)
        self.mel = np.empty((num_mels, self.num_frames), dtype=np.float32)
        self.bands = _bands(mel_filters(sample_rate_hz, window, num_mels))
        self.rfft = load_rfft()

    def decibels(self, waveform: np.ndarray) -> np.ndarray:
        """(T,) float32 or shorter -> (F, N) float32, in dB."""
        decibels: np.ndarray = self._log10(waveform) * np.float32(10.0)
        return decibels

    def write(self, waveform: np.ndarray, out: np.ndarray) -> None:
        """As :meth:`decibels`, into (F, N) float16."""
        # numpy casts to float16 one value at a time. Scaled by 2**-112, a float32 has the exponent of the float16 in
        # its low bits, and the float16 is the top of it, rounded.
        scaled = self._log10(waveform)
        scaled *= np.float32(10.0 * 2.0**-112)
        bits = scaled.view(np.uint32)
        bits += 1 << 12
        halves = out.view(np.uint16)
        np.right_shift(bits, 16, out=halves, casting="unsafe")
        halves &= 0x8000  # the sign
        bits >>= 13
        bits &= 0x7FFF
        np.bitwise_or(halves, bits, out=halves, casting="unsafe")

    def _log10(self, waveform: np.ndarray) -> np.ndarray:
        """Logarithm of the mel spectrogram's power, cut at the floor; valid until the next call."""
        peak = self._mel(waveform)
        if not np.isfinite(peak):  # amplitudes beyond 1e17, whose power no float32 holds
            loudest = np.abs(waveform).max()
            return self._log10(waveform / loudest) + np.float32(2.0 * np.log10(loudest))
        floor = max(AMIN, float(peak) * 10.0 ** (-TOP_DB / 10.0))
        np.maximum(self.mel, np.float32(floor), out=self.mel)
        return np.log10(self.mel, out=self.mel)

    def _mel(self, waveform: np.ndarray) -> np.float32:
        """Fills ``mel`` and returns its largest value."""
        length = len(waveform)
        # Frames behind the end of the sound are silent.
        heard = min(self.num_frames, (self.before + length) // self.hop + 1)
        self.padded[self.before : self.before + length] = waveform
        self.padded[self.before + length :] = 0.0
        self.mel[:, heard:] = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, heard, STRETCH_FRAMES):
                self._stretch(start, min(heard, start + STRETCH_FRAMES))
        largest: np.float32 = self.mel.max()
        return largest

    def _stretch(self, start: int, end: int) -> None:
        count = end - start
        windowed, power = self.windowed[:count], self.power[:count]
        np.multiply(self.frames[start:end], self.window, out=windowed)
        np.abs(self.rfft(windowed), out=power)
        np.multiply(power, power, out=power)
        for first, last, low, high, weights in self.bands:
            np.matmul(weights, power[:, low:high].T, out=self.mel[first:last, start:end])


def _bands(filters: np.ndarray) -> list[tuple[int, int, int, int, np.ndarray]]:
    """Stretches of mel bins with the stretch of the spectrum that they are made of, and its weights."""
    bands = []
    for first in range(0, len(filters), BAND_MELS):
        weights = filters[first : first + BAND_MELS]
        used = np.flatnonzero(weights.any(axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        bands.append((first, first + len(weights), low, high, weights[:, low:high].copy()))
    return bands


@lru_cache(maxsize=8)
def hann(length: int) -> np.ndarray:
    """Periodic Hann window, (length,) float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


@lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int, num_fft: int, num_mels: int) -> np.ndarray:
    """Triangular mel filters with unit area, (F, num_fft // 2 + 1) float32.

    Computed here because importing ``librosa.filters`` costs every decode worker seconds and 100 MB.

    Source: Slaney, Auditory Toolbox (1998): linear below 1 kHz, logarithmic above; as ``librosa.filters.mel``.
    """
    frequencies = np.fft.rfftfreq(num_fft, 1.0 / sample_rate_hz)
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(sample_rate_hz / 2), num_mels + 2))
    widths = np.diff(edges)
    ramps = edges[:, None] - frequencies[None, :]
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    areas = 2.0 / (edges[2:] - edges[:-2])
    filters: np.ndarray = (triangles * areas[:, None]).astype(np.float32)
    return filters


LINEAR_HZ_PER_MEL = 200.0 / 3
LOG_START_HZ = 1000.0
LOG_START_MEL = LOG_START_HZ / LINEAR_HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < LOG_START_HZ:
        return hz / LINEAR_HZ_PER_MEL
    return float(LOG_START_MEL + np.log(hz / LOG_START_HZ) / LOG_STEP)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    linear = mel * LINEAR_HZ_PER_MEL
    logarithmic = LOG_START_HZ * np.exp(LOG_STEP * (mel - LOG_START_MEL))
    return np.where(mel < LOG_START_MEL, linear, logarithmic)


def track_statistics(decibels: np.ndarray) -> np.ndarray:
    """Statistics over the frames of each sound, up to the last that is heard.

    Args:
        decibels: (B, F, N) log-mel spectrograms in dB.

    Returns:
        (B, 2 * F + 6 * M) float32: mean and deviation of the F mel bins; of the M = min(20, F) cepstral coefficients
        mean, deviation, lowest, highest, and mean and deviation of the steps from frame to frame.
    """
    return np.stack([_statistics(sound.astype(np.float32)) for sound in decibels])


def _statistics(sound: np.ndarray) -> np.ndarray:
    heard = np.flatnonzero(sound.max(axis=0) > sound.min() + EMPTY_DB)
    mel = sound[:, : heard[-1] + 1] if len(heard) else sound
    coefficients = cepstrum(mel)
    steps = np.diff(coefficients, axis=1) if mel.shape[1] > 1 else np.zeros_like(coefficients)
    columns = [mel.mean(axis=1), mel.std(axis=1), coefficients.mean(axis=1)]
    columns += [coefficients.std(axis=1), coefficients.min(axis=1), coefficients.max(axis=1)]
    return np.concatenate([*columns, steps.mean(axis=1), steps.std(axis=1)]).astype(np.float32)


def cepstrum(mel: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients: (F, N) dB -> (min(20, F), N).

    Source: Davis, Mermelstein 1980, "Comparison of Parametric Representations for Monosyllabic Word Recognition in
    Continuously Spoken Sentences", equation 1; orthonormal, as ``librosa.feature.mfcc`` has it.
    """
    from scipy.fft import dct

    coefficients: np.ndarray = dct(mel, axis=0, norm="ortho")
    return coefficients[:NUM_COEFFICIENTS]
