"""What a header says, whatever the container."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Header:
    """What the header of a file of moving pictures says; 0 and empty where it does not tell.

    Attributes:
        width: Pixels as stored, before the clip is turned upright.
        height: As ``width``.
        seconds: Duration.
        frames: How many.
        codec: What they are compressed with, by the container's own name.
        has_video: Whether there are frames at all.
        has_sound: Whether there is a sound track.
        problem: Why it cannot be decoded.
    """

    width: int = 0
    height: int = 0
    seconds: float = 0.0
    frames: int = 0
    codec: str = ""
    has_video: bool = False
    has_sound: bool = False
    problem: str = ""


def ends_early(what: str, declared: int, held: int) -> str:
    """The problem of a file that is cut.

    Args:
        what: The part of the container that declares its end.
        declared: Where it ends, in bytes of the file.
        held: Bytes of the file.
    """
    return f"the file ends after {held} bytes, and {what} goes on to byte {declared}"


def big(data: memoryview) -> int:
    """A whole number, most significant byte first."""
    return int.from_bytes(data, "big")


def little(data: memoryview) -> int:
    """A whole number, least significant byte first."""
    return int.from_bytes(data, "little")


def name_of(data: memoryview) -> str:
    """Four characters that name something; what cannot be printed is left out."""
    return "".join(chr(byte) for byte in data if 32 < byte < 127)
