"""A strict scanner of tar headers: every member and every damage, with its offset.

Source: POSIX.1-2008 ``pax`` interchange format, and the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.shards.packed.compressed import Unpacked
from pipeline.shards.packed.kinds import sign
from pipeline.shards.tar.header import (
    BLOCK,
    EXTENDED,
    BadHeader,
    Extension,
    has_magic,
    name_of,
    numbers,
    text,
)
from pipeline.shards.tar.members import Damage, Member
from pipeline.storage import ByteSource

MAX_META_BYTES = 1 << 20  # names and PAX records longer than this are damage
RESYNC_BYTES = 1 << 16  # read at a time while looking for the next header
_NO_END = 1 << 62

_FILE = ord("0")
_FILES = frozenset(b"0\x007")  # regular, old regular, contiguous
# Folders, those of incremental archives with a list of what was in them, and the label of a volume.
_NO_MEMBERS = frozenset(b"5DV")
_SPARSE = ord("S")
_NO_CONTENT = frozenset(b"123456")  # whatever size they declare
_SPECIAL = {
    ord("1"): "hard link",
    ord("2"): "symbolic link",
    ord("3"): "character device",
    ord("4"): "block device",
    ord("6"): "FIFO",
    ord("S"): "sparse file",
}
_OF_AN_END = ("truncated_shard", "missing_end", "not_tar")


def scan(source: ByteSource, start: int = 0, end: int | None = None) -> Iterator[Member | Damage]:
    """Walks the headers from ``start``, which must be a header, to ``end``, by default the end of the archive.

    After damage the scan goes on with the next block that is a valid header. Folders and labels are passed over. A
    member's content is there to be read when the member comes, and need not be later: some sources only go forward.
    """
    items = _Scan(source, start, end).run()
    return _explained(items, source, end) if isinstance(source, Unpacked) else items


def _explained(
    items: Iterator[Member | Damage], source: Unpacked, end: int | None
) -> Iterator[Member | Damage]:
    """Puts why unpacking stopped in the place of what that did to the archive."""
    lost = None
    for item in items:
        if source.fault is not None and isinstance(item, Damage) and item.reason in _OF_AN_END:
            lost = item.lost
        else:
            yield item
    if source.fault is not None and (end is None or source.size < end):
        fault = source.fault
        yield Damage(source.size, fault.reason, fault.detail, lost, fault.setting)


class _Scan:
    def __init__(self, source: ByteSource, start: int, end: int | None) -> None:
        self.source = source
        self.position = start
        self.end = _NO_END if end is None else end
        self.whole = end is None  # then the end marker is still to be seen
        self.extension: Extension | None = None
        # Whether headers have one; those before POSIX have not.
        self.magic = has_magic(bytes(source.read(start, BLOCK)))

    def run(self) -> Iterator[Member | Damage]:
        if self.whole and not self.source.holds(1):
            yield Damage(0, "not_tar", "the file is empty")
            return
        read, holds, end, new = self.source.read, self.source.holds, self.end, tuple.__new__
        while self.position < end:
            header = self.position
            block = bytes(read(header, BLOCK))
            try:
                size, kind = numbers(block)
            except BadHeader as error:
                if not block:
                    break
                yield from self._no_header(block, str(error))
                continue
            if kind == _FILE and self.extension is None and holds(header + BLOCK + size):
                # What nearly every header is, in few steps.
                name = name_of(block)
                self.position = header + ((size + 2 * BLOCK - 1) & -BLOCK)
                if name[-1:] != "/":
                    # As Member(...) does it, in half the time.
                    yield new(Member, (name, header, header + BLOCK, size, ""))
            elif kind in EXTENDED:
                yield from self._extend(kind, size)
            else:
                item = self._member(block, size, kind)
                if item is not None:
                    yield item
        if self.whole:
            yield Damage(self.source.size, "missing_end", "the archive has no end marker", "")

    def _member(self, block: bytes, size: int, kind: int) -> Member | Damage | None:
        """The member whose header ``block`` is; None where there is nothing to hand over."""
        header, content = self.position, self.position + BLOCK
        name, special = name_of(block), ""
        if kind not in _FILES:
            special = _SPECIAL.get(kind) or f"member of type {chr(kind)!r}"
            if kind in _NO_CONTENT:
                size = 0
            elif kind == _SPARSE:
                content += self._sparse_map_bytes(block)
        extension = self.extension
        if extension is not None:
            self.extension, header = None, extension.header
            name = name if extension.path is None else extension.path
            size = size if extension.size is None or kind in _NO_CONTENT else extension.size
            special = "sparse file" if extension.sparse else special
        if not self.source.holds(content + size):
            return self._cut(name, header, content, size)
        self.position = content + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind in _NO_MEMBERS or (not special and name.endswith("/")):
            return None
        if extension is not None and extension.damaged:
            return None  # its name is lost, and reported
        return Member(name, header, content, size, special)

    def _cut(self, name: str, header: int, content: int, size: int) -> Damage:
        missing = content + size - self.source.size
        detail = f"{_shown(name)} declares {size} bytes, {missing} more than the archive has"
        self.position += BLOCK
        self._seek_header()
        return Damage(header, "truncated_shard", detail, name)

    def _sparse_map_bytes(self, block: bytes) -> int:
        """Size of the blocks that go on with an old GNU header's list of holes."""
        size, more = 0, block[482]
        while more:
            extra = self.source.read(self.position + BLOCK + size, BLOCK)
            if len(extra) < BLOCK:
                break
            size, more = size + BLOCK, extra[504]
        return size

    def _extend(self, kind: int, size: int) -> Iterator[Damage]:
        """Takes in an extended header."""
        content = self.position + BLOCK
        extension = self.extension or Extension(self.position)
        if size > MAX_META_BYTES:
            block = bytes(self.source.read(self.position, BLOCK))
            yield from self._resync(f"an extended header declares {size} bytes", block)
            return
        data = bytes(self.source.read(content, size))
        end = content + (size + BLOCK - 1) // BLOCK * BLOCK
        if not self.source.holds(end):
            detail = "the archive ends inside a long name"
            yield Damage(extension.header, "truncated_shard", detail, "")
            self.position, self.whole = _NO_END, False
            return
        try:
            extension.take_in(kind, data)
        except BadHeader as error:
            yield Damage(self.position, "bad_header", f"{error}; the member after it is lost", "")
            extension.damaged = True
        self.extension, self.position = extension, end

    def _no_header(self, block: bytes, detail: str) -> Iterator[Damage]:
        """Reports what lies where a header should be, and goes on behind it."""
        self.extension = None
        if not block.strip(b"\0"):
            yield from self._zeros()
        elif not self.position and len(block) < BLOCK and not _may_begin_header(block):
            kind = sign(block)
            detail = "the file is shorter than a header"
            yield Damage(0, "not_tar", f"{detail} ({kind})" if kind else detail)
            self.position, self.whole = _NO_END, False
        elif len(block) < BLOCK:
            detail = "the archive ends inside a header"
            yield Damage(self.position, "truncated_shard", detail, text(block[:100]))
            self.position, self.whole = _NO_END, False
        else:
            yield from self._resync(detail, block)

    def _zeros(self) -> Iterator[Damage]:
        """Passes over zero blocks; two of them, and nothing behind, end the archive."""
        began = self.position
        self._skip_zeros()
        if self.position < self.end and self.source.holds(self.position + 1):
            if self._is_header(bytes(self.source.read(self.position, BLOCK))):
                yield self._amid(began)
                return
            yield Damage(self.position, "trailing_data", "there is data after the end marker")
            self.position += BLOCK
            self._seek_header()
        elif not self.whole:  # what follows is the next part's first header
            yield self._amid(began)
        else:
            self.whole = False
            if self.position - began < 2 * BLOCK:
                yield Damage(began, "missing_end", "the archive's end marker is cut")

    def _skip_zeros(self) -> None:
        while self.position < self.end:
            size = min(RESYNC_BYTES, self.end - self.position)
            chunk = bytes(self.source.read(self.position, size))
            data = chunk.lstrip(b"\0")
            self.position += (len(chunk) - len(data)) // BLOCK * BLOCK if data else len(chunk)
            if data or len(chunk) < size:
                return

    def _amid(self, began: int) -> Damage:
        blocks = (self.position - began) // BLOCK
        return Damage(began, "bad_header", f"{blocks} zero blocks amid the archive", "")

    def _resync(self, detail: str, block: bytes) -> Iterator[Damage]:
        """Reports a bad header, and moves on to the next good one."""
        is_tar = has_magic(block)
        extended = is_tar and block[156] in EXTENDED
        if extended:
            yield Damage(self.position, "bad_header", f"{detail}; the member after it is lost", "")
        elif is_tar or self.position:
            lost = text(block[:100]) if is_tar else ""
            yield Damage(self.position, "bad_header", detail, lost)
        else:
            kind = sign(block)
            yield Damage(0, "not_tar", f"{detail} ({kind})" if kind else detail)
        self.position += BLOCK
        self._seek_header()
        self.extension = Extension(self.position, damaged=True) if extended else None

    def _seek_header(self) -> None:
        while self.position < self.end:
            size = min(RESYNC_BYTES, self.end - self.position)
            chunk = bytes(self.source.read(self.position, size))
            for offset in range(0, len(chunk) - BLOCK + 1, BLOCK):
                if self._is_header(chunk[offset : offset + BLOCK]):
                    self.position += offset
                    return
            if len(chunk) < size:
                break
            self.position += size
        self.position, self.whole = (
            _NO_END,
            False,
        )  # the damage is reported; a missing end is no news

    def _is_header(self, block: bytes) -> bool:
        if not has_magic(block) and self.magic:
            return False
        try:
            numbers(block)
        except BadHeader:
            return False
        return True


def _may_begin_header(block: bytes) -> bool:
    """Whether a few bytes may be the beginning of a header: a name filled up with zeros, and the mode in digits."""
    name, zero, filling = block[:100].partition(b"\0")
    mode = block[100:107].strip(b"\0 ")
    return bool(name and zero) and not filling.strip(b"\0") and (not mode or mode.isdigit())


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()[:80]
