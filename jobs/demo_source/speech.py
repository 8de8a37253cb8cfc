"""Spoken digits: eSpeak NG through ctypes, in several languages, voices, speeds and pitches."""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import espeakng_loader
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipeline.errors import PipelineError

SAMPLE_RATE_HZ = 16_000
# eSpeak's name of a language -> its code among the sentences'.
LANGUAGES = {"en-us": "en", "cmn": "zh", "es": "es", "de": "de"}
VARIANTS = ("", "+m1", "+m3", "+f1", "+f2", "+f4")

_NUM_SAMPLES = SAMPLE_RATE_HZ  # each recording lasts one second
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_RATE, _PITCH = 1, 3
_POSITION_CHARACTER, _CHARACTERS_UTF8 = 1, 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks: an eSpeak language and variant, words a minute, and pitch from 0 to 99."""

    language: str
    variant: str
    words_per_minute: int
    pitch: int


def choose_voice(rng: np.random.Generator) -> Voice:
    """Draws a voice; no two samples need share one."""
    return Voice(
        language=str(rng.choice(list(LANGUAGES))),
        variant=str(rng.choice(VARIANTS)),
        words_per_minute=int(rng.integers(130, 210)),
        pitch=int(rng.integers(30, 70)),
    )


class Speaker:
    """eSpeak NG with its state at the start; the same calls in the same order sound the same.

    Use as a context manager.

    Raises:
        PipelineError: eSpeak NG does not start.
    """

    def __init__(self) -> None:
        # The library keeps the state of its oscillators between words, and even when it is started
        # anew. A private copy begins afresh. It also cuts off long paths: the link is short.
        self._folder = tempfile.TemporaryDirectory(prefix="voice-")
        library = shutil.copy(espeakng_loader.get_library_path(), self._folder.name)
        data = Path(self._folder.name) / "espeak-ng-data"
        os.symlink(espeakng_loader.get_data_path(), data)
        self._library: Any = ctypes.CDLL(library)
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT)
        if rate <= 0:
            raise PipelineError(
                "the speech synthesizer does not start",
                where=f"eSpeak NG, code {rate}",
                fix="install the [demo] extra again",
            )
        self._rate_hz = int(rate)
        self._chunks: list[bytes] = []
        self._callback = _CALLBACK(self._collect)  # kept, as the library holds no reference
        self._library.espeak_SetSynthCallback(self._callback)

    def __enter__(self) -> Speaker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._library.espeak_Terminate()
        self._folder.cleanup()

    def say(self, text: str, voice: Voice) -> NDArray[np.float32]:
        """Speaks a text.

        Returns:
            Audio from -1 to 1 at 16 kHz, (T,), without the silence around it.

        Raises:
            PipelineError: The voice does not exist.
        """
        name = f"{voice.language}{voice.variant}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise PipelineError(f"there is no voice {name}", where="eSpeak NG")
        self._library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # for the breath of some voices
        self._chunks.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(
            data, len(data), 0, _POSITION_CHARACTER, 0, _CHARACTERS_UTF8, None, None
        )
        audio = np.frombuffer(b"".join(self._chunks), np.int16).astype(np.float32) / 32768.0
        loud = np.flatnonzero(np.abs(audio) > 0.01)
        if loud.size:
            audio = audio[loud[0] : loud[-1] + 1]
        resampled: NDArray[np.float32] = soxr.resample(audio, self._rate_hz, SAMPLE_RATE_HZ)
        return resampled

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0


def record(
    speech: NDArray[np.float32], snr_db: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Puts speech near the middle of a second of background noise.

    Args:
        speech: Audio at 16 kHz, (T,); what is beyond one second is cut off.
        snr_db: Power of the speech over that of the noise.
        rng: Source of the place, the loudness and the noise.

    Returns:
        Audio from -1 to 1 at 16 kHz, (16000,).
    """
    speech = speech[:_NUM_SAMPLES]
    room = _NUM_SAMPLES - len(speech)
    start = int(np.clip(room / 2 + rng.normal(0.0, 0.08 * SAMPLE_RATE_HZ), 0, room))
    audio = _noise(rng) * _rms(speech) * 10 ** (-snr_db / 20)
    audio[start : start + len(speech)] += speech
    audio *= rng.uniform(0.3, 0.9) / max(float(np.abs(audio).max()), 1e-6)
    return audio.astype(np.float32)


def to_wav(audio: NDArray[np.float32]) -> bytes:
    """Encodes audio from -1 to 1 at 16 kHz, (T,), as WAV of 16-bit integers."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of power 1 whose spectrum falls by 0 to 6 dB an octave, (16000,)."""
    spectrum = np.fft.rfft(rng.standard_normal(_NUM_SAMPLES))
    frequency_hz = np.fft.rfftfreq(_NUM_SAMPLES, 1 / SAMPLE_RATE_HZ)
    spectrum *= np.maximum(frequency_hz, 100.0) ** -rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, _NUM_SAMPLES)
    return noise / _rms(noise)


def _rms(audio: NDArray[np.generic]) -> float:
    return float(np.sqrt(np.mean(np.square(audio)))) if audio.size else 0.0
