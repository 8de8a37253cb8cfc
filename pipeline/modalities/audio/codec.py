"""Sound bytes -> log-mel spectrogram of one size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.modalities.audio.containers.layout import Remark
from pipeline.modalities.audio.filters import check_sound
from pipeline.modalities.audio.mel import LogMel
from pipeline.modalities.audio.sndfile import Sound, not_finite, read_with_libsndfile, too_long
from pipeline.modalities.audio.track import is_film, modules_of_sounds, read_track
from pipeline.modalities.audio.wav import read_wav
from pipeline.modalities.base import Decoded, Dense, Item, Noted
from pipeline.modalities.codecs import decode_each, dense_column, fixed_size_column
from pipeline.modalities.decoding.foreign import Refusing
from pipeline.modalities.shown import InTime

if TYPE_CHECKING:
    from pipeline.modalities.audio import AudioFilterConfig


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
        whole: Decodes each sound to its end, so that damage anywhere is seen; otherwise what is kept, and no more.
        limits: Which good sounds are left out; None leaves out none.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        num_samples: int,
        window: int,
        hop: int,
        num_mels: int,
        max_decoded_seconds: float,
        *,
        whole: bool = True,
        limits: AudioFilterConfig | None = None,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.num_samples = num_samples
        self.window = window
        self.hop = hop
        self.num_mels = num_mels
        self.max_decoded_seconds = max_decoded_seconds
        self.whole = whole
        self.limits = limits
        self._log_mel: LogMel | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(F, N): mel bins and frames."""
        return (self.num_mels, 1 + self.num_samples // self.hop)

    @property
    def seconds_per_frame(self) -> float:
        """From one frame to the next."""
        return self.hop / self.sample_rate_hz

    @property
    def column(self) -> pa.Field:
        """``audio``: fixed_size_list<float16>[F * N]."""
        kind = pa.list_(pa.float16(), self.shape[0] * self.shape[1])
        return pa.field("audio", kind, metadata={"shape": ",".join(map(str, self.shape))})

    def empty(self, count: int) -> np.ndarray:
        """(count, F, N) float16, not initialised."""
        return np.empty((count, *self.shape), dtype=np.float16)

    def modules(self, fields: Sequence[str]) -> Sequence[str]:
        """See :class:`pipeline.modalities.base.Codec`."""
        return modules_of_sounds(fields)

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one sound to (F, N) float16, in dB.

        Raises:
            SampleError: Not a sound, damaged, holding no or infinite samples, or longer than the limit.
        """
        return self._decode(data, field)[0]

    def _decode(self, data: memoryview, field: str) -> tuple[np.ndarray, Remark | None]:
        sound, remark = self._sound(data, field)
        spectrogram = np.empty(self.shape, dtype=np.float16)
        self._kernel().write(sound, spectrogram)
        return spectrogram, remark

    def decode_noting(self, data: memoryview, field: str) -> np.ndarray | Noted:
        """As :meth:`decode`, with a remark where something about the sound is odd."""
        value, remark = self._decode(data, field)
        return value if remark is None else Noted(value, *remark)

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes sounds to (F, N) float16, in ``out`` where it is given."""
        return decode_each(self, items, out, self.decode_noting)

    def waveform(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one sound to (T,) float32 in -1..1 at ``sample_rate_hz``, padded with silence."""
        sound, _ = self._sound(data, field)
        padded = np.zeros(self.num_samples, dtype=np.float32)
        padded[: len(sound)] = sound
        return padded

    def _sound(self, data: memoryview, field: str) -> tuple[np.ndarray, Remark | None]:
        """Decodes one sound to (T,) float32 or less, and what is odd about it."""
        sound = read_mono(
            data, field, self.max_decoded_seconds, self._kept_seconds, whole=self.whole
        )
        mono, rate = sound.mono, sound.rate_hz
        if self.limits is not None:
            check_sound(data, sound, self.limits, field)
        if rate != self.sample_rate_hz:
            import soxr

            with Refusing("bad_audio", field, "the sound"):
                mono = soxr.resample(mono, rate, self.sample_rate_hz, quality="HQ")
            # What is finite, but near the limits of float32, can overflow.
            if not np.isfinite(mono).all():
                raise not_finite(field)
        return mono[: self.num_samples], sound.remark

    @property
    def _kept_seconds(self) -> float:
        """What is resampled: a little more than is kept, so that the cut does not ring."""
        return self.num_samples / self.sample_rate_hz + 0.1

    def _kernel(self) -> LogMel:
        if self._log_mel is None:
            self._log_mel = LogMel(
                self.sample_rate_hz, self.num_samples, self.window, self.hop, self.num_mels
            )
        return self._log_mel

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_log_mel": None}

    def show(self, data: memoryview, field: str) -> bytes:
        """The sound as 16-bit WAV: what a model hears of it, without the padding.

        Raises:
            SampleError: As :meth:`decode`.
        """
        import soundfile

        waveform = self.waveform(data, field)
        length = int(np.flatnonzero(waveform)[-1]) + 1 if waveform.any() else len(waveform)
        shown = io.BytesIO()
        soundfile.write(
            shown, waveform[:length], self.sample_rate_hz, format="WAV", subtype="PCM_16"
        )
        return shown.getvalue()

    def in_time(self, shown: str | bytes) -> InTime:
        """The log-mel spectrogram of a sound that :meth:`show` gave, up to its end."""
        import soundfile

        from pipeline.modalities.audio.show import spectrogram_png

        assert isinstance(shown, bytes)
        waveform, _ = soundfile.read(io.BytesIO(shown), dtype="float32")
        frames = min(self.shape[1], 1 + len(waveform) // self.hop)
        decibels = self.log_mel(waveform)[:, :frames]
        picture = spectrogram_png(decibels, float(decibels.min()), float(decibels.max()))
        return InTime(picture, frames * self.seconds_per_frame)

    def log_mel(self, waveform: np.ndarray) -> np.ndarray:
        """(T,) float32 -> (F, N) float32, in dB."""
        return self._kernel().decibels(waveform)

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """(F, N) float16 arrays -> a column, null where None."""
        return fixed_size_column(values, self.column, np.float16)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, F, N) float16 and its presence."""
        return dense_column(column, self.shape)


def read_mono(
    data: memoryview, field: str, max_seconds: float, kept_seconds: float, *, whole: bool = True
) -> Sound:
    """Decodes a sound and averages its channels.

    Args:
        data: The sound.
        field: Its extension.
        max_seconds: Sounds that decode to more are refused.
        kept_seconds: How much of its beginning is wanted.
        whole: Decodes to the end, so that damage anywhere is seen.

    Returns:
        What was decoded; at most ``kept_seconds`` and one sample of it are kept.

    Raises:
        Absent: A film without a sound track.
        SampleError: Not a sound, damaged, holding no or infinite samples, or longer than ``max_seconds``.
    """
    waves = read_wav(data, field)
    if waves is None:
        with Refusing("bad_audio", field, "the sound"):
            if is_film(data):
                return read_track(data, field, max_seconds, kept_seconds, whole=whole)
            return read_with_libsndfile(data, field, max_seconds, kept_seconds, whole=whole)
    rate = waves.rate_hz
    if len(waves.data) > int(max_seconds * rate):
        raise too_long(max_seconds, field, len(waves.data) / rate)
    mono = waves.mono(int(kept_seconds * rate) + 1)
    if not (waves.finite() if whole else np.isfinite(mono).all()):
        raise not_finite(field)
    return Sound(mono, rate, len(waves.data) / rate, waves.remark)
