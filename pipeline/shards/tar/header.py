"""What one tar header says: size, type, name, and the extended headers that overrule it.

Source: POSIX.1-2008 ``pax`` interchange format, and the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from zlib import adler32

BLOCK = 512
EXTENDED = frozenset(b"LKxXg")  # headers that say something of the next one
_MOST = 1 << 61  # bytes; no file is larger


class BadHeader(Exception):
    """A block is no header, or says what cannot be."""


@dataclass(slots=True)
class Extension:
    """What extended headers say of the next member.

    Attributes:
        header: Offset of the first of them.
        path: The member's name.
        size: Bytes of its content.
        sparse: Whether its content is a list of holes and what is between.
        damaged: Whether it cannot be relied on, and with it the member's name.
    """

    header: int
    path: str | None = None
    size: int | None = None
    sparse: bool = False
    damaged: bool = False

    def take_in(self, kind: int, data: bytes) -> None:
        """Adds what a GNU long-name header (L, K) or a PAX header (x) holds.

        Raises:
            BadHeader: It is malformed.
        """
        if kind == ord("L"):
            self.path = text(data)
        elif kind in b"xX":
            for key, value in _records(data):
                if key == b"path":
                    self.path = value.decode("utf-8", "surrogateescape")
                elif key == b"size":
                    if not value.isdigit() or len(value) > 19 or int(value) > _MOST:
                        raise BadHeader("the size in an extended header is not a number")
                    self.size = int(value)
                elif key.startswith(b"GNU.sparse."):
                    self.sparse = True


def numbers(block: bytes) -> tuple[int, int]:
    """Size and type of a header whose checksum holds.

    Raises:
        BadHeader: It is none.
    """
    if len(block) < BLOCK:
        raise BadHeader("the archive ends inside a header")
    # The low half of Adler-32 is 1 + the sum of the bytes, modulo 65521; of 512 ASCII bytes the sum is below that.
    total = (adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)
    expected = _wanted_total(block[148:156])
    if total != expected:
        # Some old writers summed signed bytes.
        signed = total - 256 * sum(byte > 127 for byte in block)
        if expected < 0 or signed != expected:
            raise BadHeader("the header's checksum does not hold")
    digits = block[124:135]
    if digits.isdigit() and block[135] in b"\0 ":
        try:
            return int(digits, 8), block[156]
        except ValueError:
            raise BadHeader("a number of the header is not octal") from None
    return _number(block[124:136]), block[156]


def has_magic(block: bytes) -> bool:
    """Whether a header is of POSIX or GNU tar; older ones cannot be told from other data by a look."""
    return block[257:262] == b"ustar"


def name_of(block: bytes) -> str:
    """The name in a header, with its prefix."""
    name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    if block[345] and block[257:263] == b"ustar\0":
        return f"{text(block[345:500])}/{name}"
    return name


def text(data: bytes) -> str:
    """What comes before the first NUL; bytes that are no UTF-8 are kept as surrogates."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


@lru_cache(maxsize=1 << 14)
def _wanted_total(field: bytes) -> int:
    """The sum that all bytes of a header must have for its checksum field to hold; -1 for none.

    The checksum counts its own field as spaces.
    """
    try:
        stored = _number(field) if field.strip(b" \0") else -1
    except BadHeader:
        return -1
    return -1 if stored < 0 else stored - len(field) * ord(" ") + sum(field)


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base-256, for sizes of 8 GiB and more
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40 or value > _MOST:
            raise BadHeader("a number of the header is negative or absurd")
        return value
    digits = field.strip(b" \0")
    try:
        # int() would take signs and underscores too.
        return int(digits if digits.isdigit() else b"none", 8) if digits else 0
    except ValueError:
        raise BadHeader("a number of the header is not octal") from None


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records ``LENGTH KEY=VALUE\\n`` of a PAX header."""
    while data:
        digits, _, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 9 else 0
        key, equals, value = data[len(digits) + 1 : length - 1].partition(b"=")
        if not 0 < length <= len(data) or data[length - 1] != 0x0A or not equals:
            raise BadHeader("a record of an extended header is malformed")
        yield key, value
        data = data[length:]
