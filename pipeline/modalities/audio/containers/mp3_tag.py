"""The tag in the first frame of an MP3: how many frames follow, and what of them is no sound."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pipeline.modalities.audio.containers.layout import (
    COUNT,
    CUT_END,
    MISSING_SHARE,
    Remark,
)

# Writers whose count leaves the tag's own frame out.
_COUNTS_ITSELF_NOT = (b"LAME", b"Lavf", b"Lavc", b"GOGO")
_FRAMES, _BYTES, _TOC, _QUALITY = 1, 2, 4, 8  # flags
# What a decoder adds at the beginning, and libmpg123 takes away, of files with this tag.
DECODER_DELAY = 529
# So few frames are a matter of how they are counted, where the bytes are all there.
_MISCOUNTED = 2


@dataclass(frozen=True)
class Tag:
    """A Xing, Info or VBRI tag.

    Attributes:
        xing: Whether it is of the kind that libmpg123 knows.
        frames_at: Offset of the number of frames in its frame; 0 where it has none.
        frames: That number.
        bytes_at: Offset of the number of bytes; 0 where it has none.
        num_bytes: That number.
        counts_itself_not: Whether the writer is known to leave out the tag's own frame.
        delay_at: Offset of LAME's delay and padding; 0 where there is no room for them.
        delay: Samples that the encoder added at the beginning.
        padding: And at the end.
    """

    xing: bool = False
    frames_at: int = 0
    frames: int = 0
    bytes_at: int = 0
    num_bytes: int = 0
    counts_itself_not: bool = False
    delay_at: int = 0
    delay: int = 0
    padding: int = 0

    @property
    def counts(self) -> bool:
        """Whether libmpg123 takes the number of frames from it."""
        return self.xing and bool(self.frames_at)

    def judge(self, count: int, num_bytes: int, *, cut: bool) -> Remark | None:
        """Holds the number of frames against those that are there.

        Args:
            count: Whole frames behind this one.
            num_bytes: Of these frames and this one.
            cut: Whether a piece of one more is there.

        Raises:
            ValueError: More than 1 % is missing, and more than a frame.
        """
        if not self.frames:
            return None
        declared = self.frames
        if not self.counts_itself_not and declared == count + 1 + cut:
            declared -= 1
        missing = declared - count
        words = f"the MPEG audio declares {declared} frames and holds {count}"
        if cut and missing in (0, 1):
            return Remark(CUT_END, f"{words} and a piece of one")
        if not missing:
            return None
        if missing < 0:
            return Remark(COUNT, words)
        miscounted = missing <= _MISCOUNTED and not cut and self._has_all(num_bytes)
        if missing > declared * MISSING_SHARE and not miscounted:
            raise ValueError(words)
        return Remark(CUT_END if cut else COUNT, words)

    def put_right(
        self, content: bytes | memoryview, count: int, samples: int
    ) -> bytes | memoryview:
        """The frames with their number in this one, and without padding where there is none at their end.

        Args:
            content: This frame and those behind it.
            count: How many these are.
            samples: Of a frame.
        """
        if not self.counts or self.frames == count:
            return content
        head = bytearray(content[: self._end])
        head[self.frames_at : self.frames_at + 4] = struct.pack(">I", count)
        if self.bytes_at:
            head[self.bytes_at : self.bytes_at + 4] = struct.pack(">I", len(content))
        if self.delay_at:
            both = self.delay << 12 | self._padding(count, samples, len(content))
            head[self.delay_at : self.delay_at + 3] = both.to_bytes(3, "big")
        return b"".join([head, content[self._end :]])

    def skipped(self, count: int, samples: int, num_bytes: int) -> int:
        """Samples of the frames that are no sound, and that libmpg123 leaves out."""
        if not self.delay_at:
            return DECODER_DELAY
        return self.delay + max(DECODER_DELAY, self._padding(count, samples, num_bytes))

    def _has_all(self, num_bytes: int) -> bool:
        return 0 < self.num_bytes <= num_bytes

    def _padding(self, count: int, samples: int, num_bytes: int) -> int:
        """Of the end, where that is there."""
        if not self.frames or self.frames in (count, count + (not self.counts_itself_not)):
            return self.padding
        if self.num_bytes == num_bytes:
            return self.padding
        if self.frames < count:
            return 0
        return max(0, self.padding - (self.frames - count) * samples)

    @property
    def _end(self) -> int:
        return max(self.frames_at, self.bytes_at, self.delay_at) + 4


def read_tag(frame: bytes, *, mpeg1: bool) -> Tag | None:
    """Reads the tag of a frame of layer 3; None where it holds sound.

    Args:
        frame: The frame.
        mpeg1: Whether it is of MPEG 1.
    """
    mono = frame[3] >> 6 == 3
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    for start in (4 + side, 6 + side):  # behind a checksum, for writers that mind it
        if frame[start : start + 4] in (b"Xing", b"Info") and len(frame) >= start + 8:
            return _xing(frame, start)
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        num_bytes, frames = struct.unpack_from(">II", frame, 46)
        return Tag(False, 50, frames, 46, num_bytes)
    return None


def _xing(frame: bytes, start: int) -> Tag:
    flags, at = frame[start + 7], start + 8
    places = {}
    for flag, size in ((_FRAMES, 4), (_BYTES, 4), (_TOC, 100), (_QUALITY, 4)):
        if flags & flag:
            places[flag] = at
            at += size
    frames_at, bytes_at = places.get(_FRAMES, 0), places.get(_BYTES, 0)
    delay_at = at + 21 if at + 36 <= len(frame) else 0
    both = int.from_bytes(frame[delay_at : delay_at + 3], "big") if delay_at else 0
    return Tag(
        True,
        frames_at,
        int.from_bytes(frame[frames_at : frames_at + 4], "big") if frames_at else 0,
        bytes_at,
        int.from_bytes(frame[bytes_at : bytes_at + 4], "big") if bytes_at else 0,
        any(name in frame for name in _COUNTS_ITSELF_NOT),
        delay_at,
        both >> 12,
        both & 0xFFF,
    )
