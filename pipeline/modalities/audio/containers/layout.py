"""What the container of a sound holds by its own account, and how far it may fall short of what it declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipeline.modalities.audio.containers.flac import StreamInfo

CUT_END, COUNT, TRACKS, REST = "noted_cut_end", "noted_count", "noted_tracks", "noted_rest"
# More logical streams, or changes of channels, than any sound has; each is opened alone.
MAX_STRETCHES = 256
# Of what is declared, that may be missing at the end.
MISSING_SHARE = 0.01
# How near to a power of two a size is that stands for "not known".
UNKNOWN_BYTES = 1 << 16


class Remark(NamedTuple):
    """What is odd about a sound, and tolerated by every player.

    Attributes:
        reason: A word of :data:`pipeline.sample.NOTES`.
        detail: In words.
    """

    reason: str
    detail: str


class Stretch(NamedTuple):
    """A piece of a file that a decoder reads from its beginning to its end: a logical stream.

    Attributes:
        data: Its bytes, with lengths in the header that are right.
        samples: Of each channel, that a decoder has to give; None where the container does not tell.
        rate_hz: At which they are counted; 0 where it is the decoder's.
        guessed: Whether a decoder guesses the length, and would stop there.
        info: The header of a FLAC, whose digest is to hold.
    """

    data: bytes | memoryview
    samples: int | None = None
    rate_hz: int = 0
    guessed: bool = False
    info: StreamInfo | None = None


class Layout(NamedTuple):
    """A file as its container has it.

    Attributes:
        stretches: Its logical streams, one after the other.
        remark: What is odd about it, and tolerated.
        shortened: Makes the same without its last frame, for where that turns out to be cut.
        walked: Whether all of it was looked at.
        noisy: Whether its decoder writes to stderr.
    """

    stretches: Sequence[Stretch]
    remark: Remark | None = None
    shortened: Callable[[], Layout] | None = None
    walked: bool = True
    noisy: bool = False


def shortage(
    who: str, declared: int, held: int, *, unit: str = "bytes of sound", frame: int = 1
) -> Remark | None:
    """Judges a sound that declares more than is there.

    Args:
        who: Declares it.
        declared: How much.
        held: How much is there.
        unit: Of both.
        frame: The smallest piece that is lost whole.

    Returns:
        A remark where less than a frame, or no more than 1 %, is missing; None where nothing is.

    Raises:
        ValueError: More is missing.
    """
    missing = declared - held
    if missing <= 0:
        return None
    words = f"{who} declares {declared} {unit} and holds {held}"
    if missing >= frame and missing > declared * MISSING_SHARE:
        raise ValueError(words)
    return Remark(CUT_END, words)


def is_unknown(size: int, held: int, bits: int = 32) -> bool:
    """Whether a size in a header stands for "not known": that of a writer that could not go back to its beginning.

    Such writers leave 0, or the largest size that they think a reader accepts: SoX 0x7FFFF000, GStreamer 0x7FFF0000,
    arecord 0x80000000, FFmpeg 0xFFFFFFFF, others one of these less the bytes of headers. So a size is none where more
    is declared than is there, and it lies next to the largest number, signed or unsigned. Of a sound that is cut, one
    in 20,000 has such a size, and only if it had 2 GiB.

    Args:
        size: As it stands there.
        held: Bytes that are there.
        bits: Of the size.
    """
    if size <= held:
        return size == 0
    half, span = 1 << bits - 1, 1 << bits
    return abs(size - half) <= UNKNOWN_BYTES or size >= span - UNKNOWN_BYTES


def patched(data: memoryview, at: int, content: bytes) -> bytes:
    """A copy of ``data`` with other bytes at one place."""
    return b"".join([data[:at], content, data[at + len(content) :]])
