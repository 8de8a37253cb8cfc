"""Sounds of every kind but plain WAV -> samples, by libsndfile."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from pipeline.errors import SampleError
from pipeline.limits import beyond, rounded_up
from pipeline.modalities.audio.chunks import check_length
from pipeline.modalities.audio.flac import Digest, StreamInfo, read_stream_info
from pipeline.modalities.audio.mp3 import after_id3, check_mp3
from pipeline.modalities.audio.ogg import check_ogg
from pipeline.modalities.audio.wav import MAX_CHANNELS, MAX_RATE_HZ
from pipeline.modalities.content import SNIFFED_BYTES, sniff

BLOCK_SAMPLES = 1 << 16  # decoded at a time, of all channels together
_CHUNKED = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"caff", b"riff")


def read_with_libsndfile(
    data: memoryview, field: str, max_seconds: float, kept_seconds: float, *, whole: bool
) -> tuple[np.ndarray, int]:
    """Decodes a sound and averages its channels; see :func:`pipeline.modalities.audio.codec.read_mono`.

    Raises:
        SampleError: The sound is too long, or holds no or infinite samples.
        Exception: Whatever the library raises of a file that it cannot read.
    """
    import soundfile

    info = _check(data, whole=whole)
    if info is not None and not info.rate_hz:
        raise ValueError("the sound declares 0 Hz")
    if info is not None and info.samples > max_seconds * info.rate_hz:
        raise too_long(max_seconds, field, info.samples / info.rate_hz)
    blocks, total = [], 0
    digest = Digest(info) if info is not None and whole else None
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        rate, declared, channels = int(sound.samplerate), int(sound.frames), int(sound.channels)
        if not 0 < rate <= MAX_RATE_HZ or not 0 < channels <= MAX_CHANNELS:
            raise ValueError(f"the sound declares {channels} channels at {rate} Hz")
        limit, kept = int(max_seconds * rate), int(kept_seconds * rate) + 1
        at_a_time = max(1, BLOCK_SAMPLES // channels)
        if not whole:
            at_a_time = min(at_a_time, kept)
        while len(block := _next(sound, at_a_time, digest)):
            total += len(block)
            if total > limit:
                raise too_long(max_seconds, field)
            if not np.isfinite(block).all():
                raise not_finite(field)
            if total - len(block) < kept:
                blocks.append(block[:, 0] if channels == 1 else block.mean(axis=1))
            elif not whole:
                break
        compressed = sound.format in ("MP3", "MPEG") or sound.subtype.startswith("MPEG")
    if not total:
        raise ValueError("the sound holds no samples")
    if total < min(declared, kept if not whole else declared) and not compressed:
        raise ValueError(f"the sound ends after {total} of {declared} samples")
    if digest is not None:
        digest.check()
    mono = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return mono[:kept], rate


def too_long(max_seconds: float, field: str, seconds: float | None = None) -> SampleError:
    """The fault of a sound that is over the limit; of some it is not known by how much."""
    setting, limit = "modalities.audio.max_minutes", max_seconds / 60
    if seconds is None:
        return beyond("the sound decodes to more", setting=setting, limit=limit, field=field)
    what, needed = f"the sound lasts {seconds:.3f} s", rounded_up(seconds / 60)
    return beyond(what, setting=setting, limit=limit, needed=needed, field=field)


def not_finite(field: str) -> SampleError:
    """The fault of a sound with samples that are no numbers."""
    return SampleError("the sound holds NaN or infinite samples", reason="bad_audio", field=field)


def _check(data: memoryview, *, whole: bool) -> StreamInfo | None:
    """Looks at what libsndfile passes over; returns the header of a FLAC.

    Raises:
        ValueError: The file is damaged, or no sound of a known format.
    """
    content = data[after_id3(data) :]  # a tag may stand before any format
    head = bytes(content[:4])
    if head in _CHUNKED:
        check_length(content)
    elif head == b"fLaC":
        return read_stream_info(content)
    elif head == b"OggS":
        if whole:
            check_ogg(content)
    elif len(content) < len(data) or (head[:1] == b"\xff" and head[1:2] >= b"\xe2"):
        if whole:
            check_mp3(data)
    else:
        found = sniff(bytes(data[:SNIFFED_BYTES]))
        raise ValueError(f"not a sound of a known format, but {found}")
    return None


def _next(sound: Any, count: int, digest: Digest | None) -> np.ndarray:
    """The next samples, (T, channels) float32 in -1..1."""
    if digest is None:
        block: np.ndarray = sound.read(count, dtype="float32", always_2d=True)
        return block
    exact = sound.read(count, dtype=digest.dtype, always_2d=True)
    digest.add(exact)
    scaled: np.ndarray = exact.astype(np.float32)
    scaled *= np.float32(2.0 ** (1 - 8 * exact.dtype.itemsize))
    return scaled
