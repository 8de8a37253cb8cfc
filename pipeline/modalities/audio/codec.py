"""Sound bytes -> log-mel spectrogram of one size."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities.base import Dense, dense_column, fixed_size_column

AMIN = 1e-10  # floor of the power before the logarithm
TOP_DB = 80.0  # range kept below the loudest value of a sound
BLOCK_FRAMES = 1 << 16  # frames decoded at a time


class AudioCodec:
    """Decodes a sound to its log-mel spectrogram, (F, N) float16 in dB.

    Channels are averaged, the sound is resampled, cut or padded with silence to ``num_samples``, and transformed as
    ``librosa.power_to_db(librosa.feature.melspectrogram(...))`` does with its defaults (periodic Hann window, centred
    zero padding, Slaney mel scale and area norm, top_db 80).

    Args:
        sample_rate_hz: Rate after resampling.
        num_samples: Samples kept (T).
        window: Length of the window and of the FFT, in samples.
        hop: Samples between frames.
        num_mels: Mel bins (F).
        max_decoded_seconds: Sounds that decode to more are refused.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        num_samples: int,
        window: int,
        hop: int,
        num_mels: int,
        max_decoded_seconds: float,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.num_samples = num_samples
        self.window = window
        self.hop = hop
        self.num_mels = num_mels
        self.max_decoded_seconds = max_decoded_seconds

    @property
    def shape(self) -> tuple[int, int]:
        """(F, N): mel bins and frames."""
        return (self.num_mels, 1 + self.num_samples // self.hop)

    @property
    def column(self) -> pa.Field:
        """``audio``: fixed_size_list<float16>[F * N]."""
        kind = pa.list_(pa.float16(), self.shape[0] * self.shape[1])
        return pa.field("audio", kind, metadata={"shape": ",".join(map(str, self.shape))})

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one sound to (F, N) float16, in dB.

        Raises:
            SampleError: Not a sound, damaged, holding no or infinite samples, or longer than the limit.
        """
        waveform = self.waveform(data, field)
        spectrogram: np.ndarray = self.log_mel(waveform).astype(np.float16)
        return spectrogram

    def waveform(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one sound to (T,) float32 in -1..1 at ``sample_rate_hz``, padded with silence."""
        mono, rate = read_mono(data, field, self.max_decoded_seconds)
        if rate != self.sample_rate_hz:
            import soxr

            # Only what is kept is resampled, and a little more, so that the cut does not ring.
            kept = int((self.num_samples / self.sample_rate_hz + 0.1) * rate) + 1
            mono = soxr.resample(mono[:kept], rate, self.sample_rate_hz, quality="HQ")
        mono = mono[: self.num_samples]
        padded = np.zeros(self.num_samples, dtype=np.float32)
        padded[: len(mono)] = mono
        return padded

    def show(self, data: memoryview, field: str) -> bytes:
        """The sound as 16-bit WAV: what a model hears of it, without the padding.

        Raises:
            SampleError: As :meth:`decode`.
        """
        import soundfile

        waveform = self.waveform(data, field)
        kept = int(np.flatnonzero(waveform)[-1]) + 1 if waveform.any() else len(waveform)
        shown = io.BytesIO()
        soundfile.write(shown, waveform[:kept], self.sample_rate_hz, format="WAV", subtype="PCM_16")
        return shown.getvalue()

    def log_mel(self, waveform: np.ndarray) -> np.ndarray:
        """(T,) float32 -> (F, N) float32, in dB.

        Source: ``librosa.feature.melspectrogram`` and ``librosa.power_to_db``, whose result this is.
        """
        padded = np.pad(waveform, self.window // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop]
        spectrum = np.fft.rfft(frames * hann(self.window), axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        mel = power @ mel_filters(self.sample_rate_hz, self.window, self.num_mels).T
        decibels = 10.0 * np.log10(np.maximum(mel, AMIN))
        return np.ascontiguousarray(
            np.maximum(decibels, decibels.max() - TOP_DB).T, dtype=np.float32
        )

    def to_arrow(self, values: list[np.ndarray | None]) -> pa.Array:
        """(F, N) float16 arrays -> a column, null where None."""
        return fixed_size_column(values, self.column, np.float16)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, F, N) float16 and its presence."""
        return dense_column(column, self.shape)


def read_mono(data: memoryview, field: str, max_seconds: float) -> tuple[np.ndarray, int]:
    """Decodes a sound to its end, so that damage anywhere is seen, and averages its channels.

    Returns:
        (T,) float32 in -1..1, and the sample rate in Hz.

    Raises:
        SampleError: Not a sound, damaged, holding no or infinite samples, or longer than ``max_seconds``.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            rate, declared = int(sound.samplerate), int(sound.frames)
            limit = int(max_seconds * rate)
            blocks, total = [], 0
            while len(block := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                total += len(block)
                if total > limit:
                    what = f"the sound decodes to more than {max_seconds:.0f} s"
                    raise SampleError(what, reason="too_large", field=field)
                blocks.append(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1))
            compressed = sound.format in ("MP3", "MPEG") or sound.subtype.startswith("MPEG")
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError) as error:
        what = f"the sound cannot be decoded: {error}"
        raise SampleError(what[:200], reason="bad_audio", field=field) from None
    if not total:
        raise SampleError("the sound holds no samples", reason="bad_audio", field=field)
    if total < declared and not compressed:
        what = f"the sound ends after {total} of {declared} samples"
        raise SampleError(what, reason="bad_audio", field=field)
    if field == "wav":
        _check_wav_length(data, field)
    mono = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if not np.isfinite(mono).all():
        raise SampleError(
            "the sound holds NaN or infinite samples", reason="bad_audio", field=field
        )
    return mono, rate


def _check_wav_length(data: memoryview, field: str) -> None:
    """libsndfile clips a WAV's data chunk to the file without a word, so its declared size is checked here."""
    if bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"WAVE":
        return
    offset = 12
    while offset + 8 <= len(data):
        name = bytes(data[offset : offset + 4])
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        if name == b"data":
            streamed = size in (
                0,
                0xFFFFFFFF,
                0x7FFFFFFF,
            )  # written by programs that could not seek back
            if not streamed and offset + 8 + size > len(data):
                what = f"the WAV declares {size} bytes of sound and holds {len(data) - offset - 8}"
                raise SampleError(what, reason="bad_audio", field=field)
            return
        offset += 8 + size + size % 2


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
