"""The packed bytes of a shard, in order, and why they cannot be unpacked further."""

from __future__ import annotations

from pipeline.storage import ByteSource

PIECE_BYTES = 256 << 10  # packed, taken at a time; and unpacked by gzip at a time


class BadStream(Exception):
    """A packed stream cannot be unpacked further.

    Args:
        reason: A word of the vocabulary of reasons.
        detail: What is wrong.
        setting: Dotted path of the setting that would let it through, if there is one.
    """

    def __init__(self, reason: str, detail: str, setting: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.setting = reason, detail, setting


class PackedInput:
    """The packed bytes, in order."""

    def __init__(self, packed: ByteSource) -> None:
        self.packed = packed
        self.taken = 0
        self._rest = b""

    def some(self) -> bytes:
        """The next bytes, however many; none at the end."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        data = bytes(self.packed.read(self.taken, PIECE_BYTES))
        self.taken += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """So many bytes, fewer only at the end."""
        data = self.some()
        while len(data) < count and (more := self.some()):
            data += more
        self._rest = data[count:]
        return data[:count]

    def give_back(self, data: bytes) -> None:
        """Puts bytes that are not wanted in front of those to come."""
        self._rest = data + self._rest
