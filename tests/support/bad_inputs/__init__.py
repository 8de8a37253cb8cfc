"""Inputs that are damaged, hostile or odd, each with what is to become of it. All are made here; none is a file."""

from __future__ import annotations

import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path

# What a pickle of `canary` makes where anything loads it.
MARKER = Path(tempfile.gettempdir()) / f"canary-{os.getpid()}"


@dataclass(frozen=True)
class Case:
    """One member of a sample.

    Attributes:
        name: What is the matter with it.
        field: Its extension.
        data: Its bytes.
        reason: Why it is quarantined; empty where it is good.
        detail: What the detail says of it, as a regular expression.
        bomb: Whether it is to make the reader use memory or time.
        noted: Of a good one, what is odd about it.
    """

    name: str
    field: str
    data: bytes
    reason: str = ""
    detail: str = ""
    bomb: bool = False
    noted: str = ""


class _Canary:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(MARKER), "w")


def canary(protocol: int = 4) -> bytes:
    """A pickle that leaves ``MARKER`` behind when it is loaded."""
    return pickle.dumps(_Canary(), protocol)


def flipped(data: bytes, place: int, mask: int = 0x10) -> bytes:
    """The bytes with a bit flipped; a negative place counts from the end."""
    broken = bytearray(data)
    broken[place] ^= mask
    return bytes(broken)


def replaced(data: bytes, place: int, piece: bytes) -> bytes:
    """The bytes with others in their place."""
    return data[:place] + piece + data[place + len(piece) :]


def cuts(data: bytes, *shares: float) -> list[tuple[str, bytes]]:
    """The beginnings of some bytes: shares of them, or all but so many where a share is negative."""
    lengths = [
        round(share * len(data)) if share >= 0 else len(data) + int(share) for share in shares
    ]
    return [(f"cut after {length} of {len(data)}", data[:length]) for length in lengths]
