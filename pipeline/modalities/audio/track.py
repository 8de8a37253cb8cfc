"""The sound tracks of films -> samples, by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.errors import Absent
from pipeline.modalities.audio.sndfile import Sound, not_finite, too_long
from pipeline.modalities.audio.wav import MAX_CHANNELS, MAX_RATE_HZ
from pipeline.modalities.content import EXTENSIONS, FILMS, SNIFFED_BYTES, Content, sniff
from pipeline.modalities.video.containers import read_header
from pipeline.modalities.video.library import MODULES, opened


def is_film(data: memoryview) -> bool:
    """Whether a member is a film, or an MP4 of sound alone, by its first bytes."""
    return sniff(bytes(data[:SNIFFED_BYTES])) in FILMS


def may_be_film(field: str) -> bool:
    """Whether a field holds films, by its extension."""
    formats = EXTENSIONS.get(field.rpartition(".")[2], ())
    return bool(formats) and formats[0] in FILMS


def modules_of_sounds(fields: Sequence[str]) -> Sequence[str]:
    """What decoding sounds imports, with PyAV where some fields hold films."""
    films = MODULES if any(map(may_be_film, fields)) else ()
    return ("scipy.fft", "soundfile", "soxr", *films)


def has_sound(content: Content, found: str) -> bool | None:
    """Whether a film has a sound track, by its header; None where that does not tell.

    Args:
        content: The film.
        found: Its format, from :func:`pipeline.modalities.content.sniff`.
    """
    header = read_header(content, found)
    if header is None or (header.problem and not header.has_sound):
        return None
    return header.has_sound


def read_track(
    data: memoryview, field: str, max_seconds: float, kept_seconds: float, *, whole: bool
) -> Sound:
    """Decodes the first sound track of a film and averages its channels; see ``codec.read_mono``.

    Raises:
        Absent: It has none.
        SampleError: The sound is too long, or holds infinite samples.
        ValueError: It cannot be decoded.
    """
    found = sniff(bytes(data[:SNIFFED_BYTES]))
    header = read_header(Content(len(data), data), found)
    if header is not None and header.problem:
        raise ValueError(header.problem)
    with opened(data) as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise Absent("the film has no sound track", field=field)
        context = stream.codec_context
        if context is None:
            raise ValueError("what the sound is compressed with is unknown")
        context.thread_count = 1
        rate = int(context.sample_rate or 0)
        if not 0 < rate <= MAX_RATE_HZ or not 0 < context.channels <= MAX_CHANNELS:
            raise ValueError(f"the sound declares {context.channels} channels at {rate} Hz")
        num_kept = int(kept_seconds * rate) + 1
        blocks, total, is_whole = [], 0, True
        for frame in container.decode(stream):
            if frame.sample_rate != rate:
                raise ValueError(f"the sound goes on at {frame.sample_rate} Hz, after {rate} Hz")
            mono = _mono(frame)
            if not np.isfinite(mono).all():
                raise not_finite(field)
            if total < num_kept:
                blocks.append(mono)
            total += len(mono)
            if total > max_seconds * rate:
                raise too_long(max_seconds, field)
            if total >= num_kept and not whole:
                is_whole = False
                break
    if not total:
        raise ValueError("the sound holds no samples")
    return Sound(np.concatenate(blocks)[:num_kept], rate, total / rate if is_whole else None)


def _mono(frame: Any) -> np.ndarray:
    """The mean of a frame's channels, (T,) float32 in -1..1; whole numbers are scaled as libsndfile does it."""
    samples: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        scaled = samples.astype(np.float32)
    else:
        zero, steps = (128, 128) if samples.dtype == np.uint8 else (0, -np.iinfo(samples.dtype).min)
        scaled = (samples.astype(np.float64) - zero).astype(np.float32) / np.float32(steps)
    mono: np.ndarray = scaled.mean(axis=0, dtype=np.float32)
    return mono
