"""Sounds of every kind, whole ones, and their parts: what cases are made of."""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
import soundfile

from pipeline.modalities.audio.containers.mp3_frames import walk_frames
from pipeline.modalities.audio.containers.ogg import page_checksum
from support.bad_inputs import replaced

RATE = 8000
SUBFORMAT = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")


@cache
def tone(count: int = 6000, channels: int = 1) -> np.ndarray:
    """(T, channels) float64."""
    rng = np.random.default_rng(1)
    time = np.arange(count)[:, None]
    return 0.4 * np.sin(time * 0.2 + np.arange(channels)) + rng.normal(0, 0.02, (count, channels))


def written(form: str, subtype: str | None = None, rate: int = RATE, channels: int = 1) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, tone(channels=channels), rate, format=form, subtype=subtype)
    return data.getvalue()


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content


def wav(
    fmt: bytes, sound: bytes, *, size: int | None = None, before: bytes = b"", after: bytes = b""
) -> bytes:
    body = b"WAVE" + before + chunk(b"fmt ", fmt) + chunk(b"data", sound, size) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(
    code: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, block: int = -1
) -> bytes:
    block = channels * bits // 8 if block < 0 else block
    byte_rate = rate * block & 0xFFFFFFFF
    return struct.pack("<HHIIHH", code, channels, rate, byte_rate, block, bits)


def floats(*values: float, kind: str = "<f4") -> bytes:
    return np.tile(np.array(values, kind), 500).tobytes()


def encoded(sound: np.ndarray, form: str, rate: int = RATE, subtype: str | None = None) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, sound, rate, format=form, subtype=subtype)
    return data.getvalue()


def ape_tag() -> bytes:
    return (
        b"APETAGEX"
        + struct.pack("<IIII8x", 2000, 42, 0, 1 << 31 | 1 << 29)
        + bytes(10)
        + (b"APETAGEX" + struct.pack("<IIII8x", 2000, 42, 0, 1 << 31))
    )


def frame_starts(mp3: bytes) -> list[int]:
    """Where the frames of an MP3 of 16 kHz begin."""
    return list(walk_frames(memoryview(mp3)).starts)


def untagged(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which holds the count."""
    return mp3[frame_starts(mp3)[1] :]


def resized(data: bytes, name: bytes, size: bytes) -> bytes:
    """A file of chunks with another size in one of them."""
    return replaced(data, data.index(name) + len(name), size)


def recounted(mp3: bytes, count: int) -> bytes:
    """An MP3 whose first frame declares another count of frames."""
    info = mp3.index(b"Info") if b"Info" in mp3 else mp3.index(b"Xing")
    return replaced(mp3, info + 8, struct.pack(">I", count))


def resampled(flac: bytes, samples: int) -> bytes:
    """A FLAC that declares another number of samples, and no digest of them."""
    packed = int.from_bytes(flac[18:26], "big") >> 36 << 36 | samples
    return replaced(replaced(flac, 18, packed.to_bytes(8, "big")), 26, bytes(16))


def split_pages(ogg: bytes) -> list[bytes]:
    """The pages of an Ogg."""
    return [b"OggS" + page for page in ogg.split(b"OggS")[1:]]


def renamed(ogg: bytes) -> bytes:
    """An Ogg as another stream."""
    return b"".join(sealed(replaced(page, 14, b"copy")) for page in split_pages(ogg))


def multiplexed(ogg: bytes) -> bytes:
    """An Ogg and a copy of it as another stream, their pages in turn."""
    pairs = zip(split_pages(ogg), split_pages(renamed(ogg)), strict=True)
    return b"".join(page for pair in pairs for page in pair)


def sealed(page: bytes) -> bytes:
    """A page of an Ogg with the checksum that it is to have."""
    return replaced(page, 22, struct.pack("<I", page_checksum(memoryview(page))))


SOUND = (tone()[:, 0] * 30000).astype("<i2").tobytes()
