"""Which sounds are left out, where a setting asks for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import SampleError
from pipeline.limits import beyond, rounded_down, rounded_up
from pipeline.modalities.audio.probe import AudioHeader, probe_audio
from pipeline.modalities.audio.sndfile import Sound
from pipeline.modalities.content import SNIFFED_BYTES, Content, sniff

if TYPE_CHECKING:
    from pipeline.modalities.audio import AudioFilterConfig

STRETCH_SECONDS = 0.025  # whose loudness is one value
QUIET_DB = 40.0  # below the loudest stretch of the sound, a stretch is silent
FLOOR = 1e-4  # of full scale: where the loudest stretch is below, all of the sound is silent
CLIPPED = 0.999  # of full scale


def check_sound(data: memoryview, sound: Sound, limits: AudioFilterConfig, field: str) -> None:
    """Refuses a sound that the settings leave out.

    Args:
        data: The whole sound, as it is stored.
        sound: What was decoded of it, before it is resampled or padded.
        limits: The settings.
        field: Its extension.

    Raises:
        SampleError: It is too short or too long, silent or clipped; the reason is one of ``FILTERS``.
    """
    waveform, rate_hz = sound.mono, sound.rate_hz
    _check_duration(data, sound.seconds, limits, field)
    limit = limits.max_silence_fraction
    if limit is not None and (fraction := silence_fraction(waveform, rate_hz)) > limit:
        what, share = f"{fraction:.3f} of the sound is silent", rounded_up(fraction)
        raise _left_out(what, "silence", "max_silence_fraction", limit, share, field)
    limit = limits.max_clipped_fraction
    if limit is not None and (fraction := clipped_fraction(waveform)) > limit:
        what, share = f"{fraction:.5f} of the samples are clipped", rounded_up(fraction, 5)
        raise _left_out(what, "clipping", "max_clipped_fraction", limit, share, field)


def _check_duration(
    data: memoryview, seconds: float | None, limits: AudioFilterConfig, field: str
) -> None:
    """Where a sound was not decoded to its end, its header counts; where that does not tell, the sound stays."""
    if limits.min_seconds is None and limits.max_seconds is None:
        return
    if seconds is None:
        header = probe_audio(Content(len(data), data), sniff(bytes(data[:SNIFFED_BYTES])))
        if not isinstance(header, AudioHeader):
            return
        seconds = header.seconds
    if limits.min_seconds is not None and seconds < limits.min_seconds:
        what, needed = f"the sound lasts {seconds:.3f} s", rounded_down(seconds)
        raise _left_out(what, "duration", "min_seconds", limits.min_seconds, needed, field)
    if limits.max_seconds is not None and seconds > limits.max_seconds:
        what, needed = f"the sound lasts {seconds:.3f} s", rounded_up(seconds)
        raise _left_out(what, "duration", "max_seconds", limits.max_seconds, needed, field)


def _left_out(
    what: str, reason: str, setting: str, limit: float, needed: float, field: str
) -> SampleError:
    setting, reason = f"modalities.audio.filter.{setting}", f"filtered_{reason}"
    return beyond(what, setting=setting, limit=limit, needed=needed, reason=reason, field=field)


def silence_fraction(waveform: np.ndarray, rate_hz: int) -> float:
    """Share of the stretches of 25 ms that are more than 40 dB below the loudest; 1 for a sound that is all silent.

    Args:
        waveform: (T,) float32 in -1..1, T > 0; a rest at the end that fills no stretch counts with the last one.
        rate_hz: Samples a second.
    """
    size = max(1, round(STRETCH_SECONDS * rate_hz))
    count = max(1, len(waveform) // size)
    squares = np.square(waveform, dtype=np.float64)
    starts = np.arange(count) * size
    lengths = np.diff([*starts, len(waveform)])
    loudness = np.sqrt(np.add.reduceat(squares, starts) / lengths)
    loudest = loudness.max()
    if loudest < FLOOR:
        return 1.0
    return float((loudness < loudest * 10 ** (-QUIET_DB / 20)).mean())


def clipped_fraction(waveform: np.ndarray) -> float:
    """Share of the samples at full scale, where a louder sound would have gone on.

    Args:
        waveform: (T,) float32 in -1..1, T > 0.
    """
    return float((np.abs(waveform) >= CLIPPED).mean())
