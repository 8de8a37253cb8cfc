"""Sounds in chunks other than WAV: whether as many bytes are there as they declare. libsndfile takes what there is."""

from __future__ import annotations

import struct

_UNKNOWN = 0xFFFFFFFF  # what a program writes that cannot seek back


def check_length(data: memoryview) -> None:
    """Holds the declared size of the sound in an AIFF, AU, CAF, W64 or WAV against the bytes that are there.

    Raises:
        ValueError: There are fewer.

    Source: AIFF-C, Apple 1991; Core Audio Format 1.0, Apple; Sony Wave64 (Sonic Foundry 1999); RIFF WAVE.
    """
    head = bytes(data[:12])
    if head[:4] == b"FORM":
        _walk(data, 12, ">4sI", b"SSND", even=True)
    elif head[:4] in (b"RIFF", b"RIFX"):
        _walk(data, 12, "<4sI" if head[:4] == b"RIFF" else ">4sI", b"data", even=True)
    elif head[:4] == b"RF64":
        (size,) = struct.unpack_from("<Q", data, 28)  # in the chunk ds64, which comes first
        _hold(size, len(data))
    elif head[:4] == b"caff":
        _walk(data, 8, ">4sQ", b"data", even=False)
    elif head[:4] == b".snd":
        offset, size = struct.unpack_from(">II", data, 4)
        _hold(size, len(data) - offset)
    elif head == b"riff" + bytes.fromhex("2e91cf11a5d628db"):
        (size,) = struct.unpack_from("<Q", data, 16)
        _hold(size, len(data))


def _walk(data: memoryview, offset: int, form: str, wanted: bytes, *, even: bool) -> None:
    head = struct.calcsize(form)
    while offset + head <= len(data):
        name, size = struct.unpack_from(form, data, offset)
        if name == wanted:
            _hold(size, len(data) - offset - head)
            return
        offset += head + size + (size % 2 if even else 0)


def _hold(declared: int, held: int) -> None:
    if declared in (0, _UNKNOWN, 0x7FFFFFFF, (1 << 64) - 1):
        return
    if declared > held:
        raise ValueError(f"the file declares {declared} bytes of sound and holds {held}")
