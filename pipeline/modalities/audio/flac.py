"""FLAC: what its header says of the whole sound, and whether that holds."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

_BITS = (8, 16, 24)


class StreamInfo(NamedTuple):
    """What the header says.

    Attributes:
        rate_hz: Samples a second.
        bits: Of a sample.
        samples: Of each channel; 0 where the writer did not know.
        digest: MD5 of all samples; zeros where the writer did not say.
    """

    rate_hz: int
    bits: int
    samples: int
    digest: bytes


def read_stream_info(data: memoryview) -> StreamInfo | None:
    """Reads the header of a FLAC; None where there is none.

    Source: RFC 9639, 8.2.
    """
    if len(data) < 42 or bytes(data[:4]) != b"fLaC" or data[4] & 0x7F:
        return None
    packed = int.from_bytes(data[18:26], "big")
    bits = 1 + (packed >> 36 & 31)
    return StreamInfo(packed >> 44, bits, packed & ((1 << 36) - 1), bytes(data[26:42]))


class Digest:
    """The MD5 of samples as FLAC counts it: little-endian, in as few bytes as they need.

    Args:
        info: The header.
    """

    def __init__(self, info: StreamInfo) -> None:
        self._bits = info.bits
        self._wanted = info.digest if any(info.digest) and info.bits in _BITS else None
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def dtype(self) -> str:
        """The type in which samples are to be decoded, and given to :meth:`add`."""
        return "int32" if self._bits > 16 else "int16"

    def add(self, samples: np.ndarray) -> None:
        """Takes in the next samples.

        Args:
            samples: (T, channels) of :attr:`dtype`, scaled to its range.
        """
        if self._wanted is None:
            return
        if self._bits == 16:
            raw = samples.astype("<i2", copy=False)
        elif self._bits == 8:
            raw = (samples >> 8).astype(np.int8)
        else:  # the top three bytes of four
            raw = samples.astype("<i4", copy=False).view(np.uint8).reshape(-1, 4)[:, 1:]
        self._md5.update(np.ascontiguousarray(raw).data)

    def check(self) -> None:
        """Says whether all samples were those that the writer had.

        Raises:
            ValueError: They were not.
        """
        if self._wanted is not None and self._md5.digest() != self._wanted:
            raise ValueError("the checksum of the FLAC's samples does not hold")
