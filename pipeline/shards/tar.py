"""A strict scanner of tar headers: every member and every damage, with its offset.

Source: POSIX.1-2008 ``pax`` interchange format, and the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.storage import ByteSource

BLOCK = 512
ZEROS = bytes(BLOCK)
FILE_TYPES = b"0\x007"  # regular, old regular, contiguous
MAX_META_BYTES = 1 << 20  # names and PAX records longer than this are damage
RESYNC_BYTES = 1 << 16  # read at a time while looking for the next header


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of the archive.

    Attributes:
        name: As stored, folders included.
        header: Offset of its first header, long-name headers included.
        offset: Offset of its content.
        size: Bytes of content.
        special: What it is if it is no regular file: ``link``, ``device``, ...; its content is never used.
    """

    name: str
    header: int
    offset: int
    size: int
    special: str = ""

    @property
    def end(self) -> int:
        """Offset just after the content's last block."""
        return self.offset + -(-self.size // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True)
class Damage:
    """A place where the archive is not what the format demands; ``reason`` is a word of the vocabulary."""

    offset: int
    reason: str
    detail: str


SPECIAL_TYPES = {
    ord("1"): "hard link",
    ord("2"): "symbolic link",
    ord("3"): "character device",
    ord("4"): "block device",
    ord("6"): "FIFO",
    ord("S"): "sparse file",
}


def scan(source: ByteSource, start: int = 0, end: int | None = None) -> Iterator[Member | Damage]:
    """Walks the headers from ``start``, which must be a header, to ``end``, by default the end of the archive.

    After damage the scan goes on with the next block that is a valid header. Folders are passed over.
    """
    return _Scan(source, start, source.size if end is None else end, whole=end is None).run()


class _BadHeader(Exception):
    pass


class _Scan:
    def __init__(self, source: ByteSource, start: int, end: int, *, whole: bool) -> None:
        self.source = source
        self.position = start
        self.end = end
        self.whole = whole
        self.members = 0

    def run(self) -> Iterator[Member | Damage]:
        if self.whole and self.source.size == 0:
            yield Damage(0, "not_tar", "the file is empty")
            return
        overrides: dict[str, str] = {}
        first_header = self.position
        while self.position < self.end:
            block = self.source.read(self.position, BLOCK)
            if len(block) < BLOCK:
                yield Damage(self.position, "truncated_shard", "the archive ends inside a header")
                return
            if block == ZEROS:
                yield from self._zeros()
                overrides, first_header = {}, self.position
                continue
            try:
                size, kind = _numbers(block)
            except _BadHeader as error:
                yield from self._resync(str(error))
                overrides, first_header = {}, self.position
                continue
            content = self.position + BLOCK
            if kind in b"LKxg":
                if size > MAX_META_BYTES:
                    yield from self._resync(f"an extended header declares {size} bytes")
                    overrides, first_header = {}, self.position
                    continue
                data = bytes(self.source.read(content, size))
                if len(data) == size and kind != ord("g"):
                    overrides.update(_extended(kind, data))
                self.position = content + -(-size // BLOCK) * BLOCK
                if len(data) < size or self.position > self.source.size:
                    yield Damage(content, "truncated_shard", "the archive ends inside a long name")
                    return
                continue
            size = int(overrides["size"]) if overrides.get("size", "").isdigit() else size
            name = overrides.get("path") or _name(block)
            special = "sparse file" if "sparse" in overrides else SPECIAL_TYPES.get(kind, "")
            if special in ("hard link", "symbolic link"):
                size = 0
            member = Member(name, first_header, content, size, special)
            overrides = {}
            if content + size > self.source.size:
                missing = content + size - self.source.size
                detail = (
                    f"{_shown(name)} declares {size} bytes, {missing} more than the archive has"
                )
                yield Damage(first_header, "truncated_shard", detail)
                yield from self._resync(None)
                first_header = self.position
                continue
            self.position = first_header = member.end
            self.members += 1
            if kind == ord("5") or (kind in FILE_TYPES and name.endswith("/")):
                continue
            if kind not in FILE_TYPES and not special:
                member = Member(name, member.header, content, size, f"member of type {chr(kind)!r}")
            yield member
        if self.whole:
            yield Damage(self.source.size, "missing_end", "the archive has no end marker")

    def _zeros(self) -> Iterator[Damage]:
        """Passes over zero blocks; two of them, and nothing behind, end the archive."""
        began = self.position
        while self.position < self.end:
            block = self.source.read(self.position, BLOCK)
            if block != ZEROS[: len(block)]:
                break
            self.position += len(block)
        if not self.whole:
            return
        if self.position >= self.end:
            if self.position - began < 2 * BLOCK:
                yield Damage(began, "missing_end", "the archive's end marker is cut")
            self.whole = False  # ended as it should; nothing more to report
            return
        block = self.source.read(self.position, BLOCK)
        if _is_header(block):
            yield Damage(
                began,
                "bad_header",
                f"{(self.position - began) // BLOCK} zero blocks amid the archive",
            )
        else:
            yield Damage(self.position, "trailing_data", "there is data after the end marker")
            self.position += BLOCK
            self._seek_header()
            if self.position >= self.end:
                self.whole = False

    def _resync(self, detail: str | None) -> Iterator[Damage]:
        """Reports a bad header, and moves on to the next good one."""
        if detail is not None:
            reason = "bad_header" if self.members or self.position else "not_tar"
            yield Damage(self.position, reason, detail)
        self.position += BLOCK
        self._seek_header()
        if self.position >= self.end:
            self.whole = False  # the damage is reported; a missing end would say it twice

    def _seek_header(self) -> None:
        while self.position < self.end:
            chunk = self.source.read(self.position, min(RESYNC_BYTES, self.end - self.position))
            for offset in range(0, len(chunk) - BLOCK + 1, BLOCK):
                if _is_header(chunk[offset : offset + BLOCK]):
                    self.position += offset
                    return
            self.position += max(BLOCK, len(chunk) // BLOCK * BLOCK)


def _is_header(block: memoryview) -> bool:
    if bytes(block[257:262]) != b"ustar":
        return False
    try:
        _numbers(block)
    except _BadHeader:
        return False
    return True


def _numbers(block: memoryview) -> tuple[int, int]:
    """Size and type of a header whose checksum holds."""
    stored = _octal(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if stored != total:
        signed = total - 256 * sum(byte > 127 for byte in (*block[:148], *block[156:]))
        if stored != signed:  # some old writers summed signed bytes
            raise _BadHeader("the header's checksum does not hold")
    return _octal(block[124:136]), block[156]


def _octal(digits: memoryview) -> int:
    if digits[0] & 0x80:  # base-256, for sizes of 8 GiB and more
        value = int.from_bytes(bytes(digits), "big") & ((1 << (8 * len(digits) - 1)) - 1)
        if digits[0] & 0x40 or value > 1 << 62:
            raise _BadHeader("a number of the header is negative or absurd")
        return value
    text = bytes(digits).strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise _BadHeader("a number of the header is not octal") from None


def _name(block: memoryview) -> str:
    name = _string(bytes(block[:100]))
    prefix = _string(bytes(block[345:500])) if bytes(block[257:263]) == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _string(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _extended(kind: int, data: bytes) -> dict[str, str]:
    """What a GNU long-name header (L, K) or a PAX header (x) says of the next member."""
    if kind == ord("L"):
        return {"path": _string(data)}
    if kind == ord("K"):
        return {}
    found: dict[str, str] = {}
    while data:
        length_text, separator, _ = data.partition(b" ")
        if not separator or not length_text.isdigit() or not 0 < int(length_text) <= len(data):
            break
        length = int(length_text)
        key, _, value = data[len(length_text) + 1 : length - 1].partition(b"=")
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
        elif key.startswith(b"GNU.sparse"):
            found["sparse"] = "yes"
        data = data[length:]
    return found


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()[:80]
