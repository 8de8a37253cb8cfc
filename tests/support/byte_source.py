"""Bytes that are read as a file is."""

from __future__ import annotations


class Bytes:
    """A source in memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = memoryview(data), len(data)

    def read(self, offset: int, length: int) -> memoryview:
        return self.data[offset : offset + length]

    def holds(self, end: int) -> bool:
        return end <= self.size

    def close(self) -> None:
        pass
