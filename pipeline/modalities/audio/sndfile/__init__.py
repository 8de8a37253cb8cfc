"""Sounds of every kind but plain WAV -> samples, by libsndfile."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import SampleError
from pipeline.limits import beyond, rounded_up
from pipeline.modalities.audio.containers import walk
from pipeline.modalities.audio.containers.flac import Digest, read_stream_info
from pipeline.modalities.audio.containers.layout import Layout, Remark, Stretch
from pipeline.modalities.audio.containers.mp3_frames import after_id3
from pipeline.modalities.audio.sndfile.stderr import decoder_lines_caught
from pipeline.modalities.audio.wav import MAX_CHANNELS, MAX_RATE_HZ

BLOCK_SAMPLES = 1 << 16  # decoded at a time, of all channels together
# How many times its bytes a file is said to have where a decoder guesses its length: rates of MP3 differ 40 times.
STRETCHED = 64
# Number of an error -> what it stands for; what libsndfile says of others can be read.
_WORDS = {
    **dict.fromkeys((2, 7, 8, 9), "its decoder finds no sound in it"),
    **dict.fromkeys((12, 24), "its header does not say how it is to be read"),
    **dict.fromkeys((14, 29), "libsndfile cannot read it, and does not say why"),
    **dict.fromkeys((39, 43), "the file ends before its sound does"),
    161: "a frame of the FLAC cannot be decoded",
}


class Sound(NamedTuple):
    """A sound that was decoded.

    Attributes:
        mono: (T,) float32 in -1..1, the mean of the channels: what is kept of it.
        rate_hz: Samples a second.
        seconds: Of the whole sound; None where it was not decoded to its end.
        remark: What is odd about it, and tolerated.
    """

    mono: np.ndarray
    rate_hz: int
    seconds: float | None = None
    remark: Remark | None = None


def read_with_libsndfile(
    data: memoryview, field: str, max_seconds: float, kept_seconds: float, *, whole: bool
) -> Sound:
    """Decodes a sound and averages its channels; see :func:`pipeline.modalities.audio.codec.read_mono`.

    Raises:
        SampleError: The sound is too long, or holds no or infinite samples.
        Exception: Whatever the library raises of a file that it cannot read.
    """
    _check_declared(data, max_seconds, field)
    layout = walk(data, whole=whole)
    try:
        sound = _decode(layout, field, max_seconds, kept_seconds, whole=whole)
    except ValueError:
        if layout.walked:
            raise
        sound = None
    if sound is None or (sound.seconds is not None and not layout.walked):
        # It is shorter than what is kept, or its decoder thinks so.
        return read_with_libsndfile(data, field, max_seconds, kept_seconds, whole=True)
    return sound


def _decode(
    layout: Layout, field: str, max_seconds: float, kept_seconds: float, *, whole: bool
) -> Sound:
    reading = _Reading(max_seconds, kept_seconds, whole, field)
    with decoder_lines_caught() if layout.noisy else contextlib.nullcontext():
        try:
            reading.read(layout)
        except ValueError as error:
            if layout.shortened is None:
                raise
            layout = layout.shortened()
            reading = _Reading(max_seconds, kept_seconds, whole, field)
            with contextlib.suppress(ValueError):
                reading.read(layout)
                return reading.sound(layout.remark)
            raise error from None
    return reading.sound(layout.remark)


def _check_declared(data: memoryview, max_seconds: float, field: str) -> None:
    """Refuses a FLAC whose header declares more than is allowed, before its frames are looked for."""
    info = read_stream_info(data[after_id3(data) :])
    if info is None:
        return
    if not info.rate_hz:
        raise ValueError("the sound declares 0 Hz")
    if info.samples > max_seconds * info.rate_hz:
        raise too_long(max_seconds, field, info.samples / info.rate_hz)


@dataclass
class _Reading:
    """Decodes the stretches of a sound, one after the other.

    Attributes:
        max_seconds: Sounds that decode to more are refused.
        kept_seconds: How much of its beginning is wanted.
        whole: Decodes to the end.
        extension: Of its field.
        rate: Samples a second, of all stretches.
        total: Samples decoded.
        ended: Whether the end was reached.
        blocks: What is kept.
    """

    max_seconds: float
    kept_seconds: float
    whole: bool
    extension: str
    rate: int = 0
    total: int = 0
    ended: bool = False
    blocks: list[np.ndarray] = field(default_factory=list)

    def read(self, layout: Layout) -> None:
        """Decodes all stretches, and holds the number of samples of each against that of its container."""
        import soundfile

        for stretch in layout.stretches:
            try:
                with soundfile.SoundFile(_File(stretch)) as sound:
                    self._read(sound, stretch, walked=layout.walked)
            except soundfile.LibsndfileError as error:
                raise ValueError(_in_words(error)) from None
            if not self.ended:
                break
        if not self.total:
            raise ValueError("the sound holds no samples")

    def _read(self, sound: object, stretch: Stretch, *, walked: bool) -> None:
        self._begin(sound, stretch)
        digest = Digest(stretch.info) if stretch.info is not None and self.whole else None
        before = self.total
        self.ended = self._decode(sound, digest)
        if self.ended and walked:
            _check_length(self.total - before, sound, stretch)
            if digest is not None:
                digest.check()

    def _begin(self, sound: Any, stretch: Stretch) -> None:
        rate, channels = int(sound.samplerate), int(sound.channels)
        if not 0 < rate <= MAX_RATE_HZ or not 0 < channels <= MAX_CHANNELS:
            raise ValueError(f"the sound declares {channels} channels at {rate} Hz")
        if self.rate and rate != self.rate:
            raise ValueError(f"the sound goes on at {rate} Hz, after {self.rate} Hz")
        self.rate = rate
        declared = (stretch.samples or 0) * rate / (stretch.rate_hz or rate)
        if self.total + declared > self.max_seconds * rate:
            raise too_long(self.max_seconds, self.extension, (self.total + declared) / rate)

    def _decode(self, sound: Any, digest: Digest | None) -> bool:
        """Decodes one stretch; says whether to its end."""
        limit, num_kept = int(self.max_seconds * self.rate), self.num_kept
        at_a_time = max(1, BLOCK_SAMPLES // sound.channels)
        if not self.whole:
            at_a_time = min(at_a_time, num_kept)
        while len(block := _next(sound, at_a_time, digest)):
            if self.total < num_kept:
                mono = block[:, 0] if sound.channels == 1 else block.mean(axis=1)
                self.blocks.append(mono)
            elif not self.whole:
                return False
            self.total += len(block)
            if self.total > limit:
                raise too_long(self.max_seconds, self.extension)
            if not np.isfinite(block).all():
                raise not_finite(self.extension)
        return True

    @property
    def num_kept(self) -> int:
        """Samples that are kept."""
        return int(self.kept_seconds * self.rate) + 1

    def sound(self, remark: Remark | None) -> Sound:
        """What was decoded."""
        mono = self.blocks[0] if len(self.blocks) == 1 else np.concatenate(self.blocks)
        seconds = self.total / self.rate if self.ended else None
        return Sound(mono[: self.num_kept], self.rate, seconds, remark)


def _in_words(error: Any) -> str:
    """What libsndfile says, and where that speaks of its own insides, what it stands for."""
    words = _WORDS.get(error.code) or str(error.error_string)
    return words.removeprefix("Error : ").rstrip(".")


def _check_length(decoded: int, sound: Any, stretch: Stretch) -> None:
    """Holds the number of samples that were decoded against what the container and the library say.

    Raises:
        ValueError: They are fewer.
    """
    expected = stretch.samples
    if expected is not None:
        expected = expected * int(sound.samplerate) // (stretch.rate_hz or int(sound.samplerate))
        if decoded < expected:
            raise ValueError(
                f"the sound ends after {decoded} of the {expected} samples that its file holds"
            )
    elif decoded < sound.frames and not stretch.guessed:
        raise ValueError(f"the sound ends after {decoded} of {sound.frames} samples")


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


class _File(io.BytesIO):
    """A file as libsndfile sees it.

    Of an MP3 without a tag, libmpg123 takes the first frames for all of them, and libsndfile ends where it thinks that
    the sound does; so such a file says that it has more bytes than it has.

    Args:
        stretch: What is in it.
    """

    def __init__(self, stretch: Stretch) -> None:
        super().__init__(stretch.data)
        self._beyond = 0
        self._hidden = len(stretch.data) * STRETCHED if stretch.guessed else 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Stays where it is where there is no such place: what is raised here would be printed, and not seen."""
        at_end = whence == io.SEEK_END and not offset
        with contextlib.suppress(ValueError):
            super().seek(offset, whence)
        self._beyond = self._hidden if at_end else 0
        return self.tell()

    def tell(self) -> int:
        return super().tell() + self._beyond


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
