"""Text tables as programs write them: which encoding, and what stands between the cells."""

from __future__ import annotations

import codecs
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError

DELIMITERS = (",", ";", "\t", "|")
_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
# In this order, since the marks of UTF-16 begin those of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 1 << 20
_GUESSED_FROM = 1 << 18  # bytes that an encoding is guessed from
# Bytes of UTF-8 that are damaged, to all that are not ASCII, up to which a text is UTF-8 all the same.
_DAMAGED = 0.05
# Encodings of texts that are written today; of more, those that nobody uses would be found.
_ENCODINGS = [
    "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "cp1251", "cp1250", "koi8_r", "utf_16_le", "utf_16_be",
]  # fmt: skip
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # which Excel reads and writes
BROKEN = re.compile("[\ud800-\udfff]")  # what undecodable bytes are read as


@dataclass(frozen=True)
class Encoding:
    """How a text file is read.

    Attributes:
        name: By Python's name.
        guessed: Whether it was guessed from the text, which may be wrong.
    """

    name: str
    guessed: bool = False


def find_encoding(path: Path, given: str | None = None) -> Encoding:
    """Tells a text file's encoding: its byte-order mark, else UTF-8 where it is that, else what is most likely.

    Raises:
        ConfigError: The encoding that is given is none, or none can be told.
        OSError: The file cannot be read.
    """
    if given:
        try:
            name = codecs.lookup(given).name
            "a".encode(name)
        except (LookupError, ValueError):
            raise ConfigError(
                f"{given!r} is no text encoding",
                where="pack.encoding",
                fix="utf-8, gb18030, cp1252, utf-16 are",
            ) from None
        return Encoding("utf-8-sig" if name == "utf-8" else name)
    with path.open("rb") as file:
        head = file.read(_GUESSED_FROM)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name)
    broken, beyond_ascii = _count_broken(path)
    if broken <= _DAMAGED * beyond_ascii and b"\0" not in head:
        return Encoding("utf-8-sig")
    return Encoding(_guess(path, head), guessed=True)


def _count_broken(path: Path) -> tuple[int, int]:
    """Bytes that are no UTF-8, and all that are no ASCII."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    broken = beyond = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if chunk.isascii():
                continue
            beyond += sum(byte > 127 for byte in chunk)
            broken += len(BROKEN.findall(decoder.decode(chunk)))
    return broken + len(BROKEN.findall(decoder.decode(b"", final=True))), beyond


def _guess(path: Path, head: bytes) -> str:
    from charset_normalizer import from_bytes

    if b"\0" not in head:
        # A few characters of GBK are often taken for Big5, half of whose characters GB 2312 has not.
        lines = head[: head.rfind(b"\n") + 1] or head
        best = from_bytes(lines, cp_isolation=_ENCODINGS).best()
        if best is not None and best.encoding == "big5" and _is_in(lines, "gb2312"):
            return "gb18030"
    else:
        best = from_bytes(head, cp_isolation=["utf_16_le", "utf_16_be"]).best()
    if best is None:
        raise ConfigError(
            "the table is no text in an encoding that can be told",
            where=str(path),
            fix="set pack.encoding, for example to utf-8, gb18030 or cp1252",
        )
    return str(best.encoding)


def _is_in(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def read_delimited(
    path: Path, encoding: str, wanted: Iterable[str], delimiter: str | None
) -> Iterator[tuple[str, list[str]]]:
    """Reads the rows of a CSV as (where, cells), the header first; blank rows are passed over.

    Args:
        path: The file.
        encoding: Of its text; what cannot be decoded comes as :data:`BROKEN` characters.
        wanted: Columns that the header has, which tell the delimiter.
        delimiter: What stands between cells; found by looking where None.

    Raises:
        ConfigError: The delimiter that is given is no single character, or a quote is never closed, which makes one
            cell of all that follows.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
        named = _SEPARATOR_LINE.fullmatch(file.readline())
        start = file.tell() if named else 0
        file.seek(start)
        sign = _given(delimiter) or (named[1] if named else _find(file, path, list(wanted)))
        file.seek(start)
        spaced = re.match(rf"[^\r\n]*{re.escape(sign)} +\S", file.readline()) is not None
        file.seek(start)
        lines: list[str] = []
        rows = csv.reader(_recorded(file, lines), delimiter=sign, skipinitialspace=spaced)
        first = last = int(bool(named))
        for cells in rows:
            first, last = last + 1, rows.line_num + bool(named)
            if _is_open(lines, sign, spaced=spaced):
                raise ConfigError(
                    f"a quote that begins in line {first} is never closed",
                    where=str(path),
                    fix="close it, or double a quote that is part of a text",
                )
            lines.clear()
            if any(cells):
                yield f"line {first}" if first == last else f"lines {first}-{last}", cells


def _recorded(file: Iterable[str], lines: list[str]) -> Iterator[str]:
    for line in file:
        lines.append(line)
        yield line


def _is_open(lines: list[str], delimiter: str, *, spaced: bool) -> bool:
    """Whether a row ends inside of quotes, as only the last one can."""
    if len(lines) == 1 and lines[0].endswith(("\n", "\r")) and lines[0].count('"') % 2 == 0:
        return False
    try:
        for _ in csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _given(delimiter: str | None) -> str:
    sign = _NAMED.get(delimiter or "", delimiter or "")
    if len(sign) > 1 or sign in ('"', "\r", "\n"):
        raise ConfigError(
            f"{delimiter!r} cannot stand between cells",
            where="pack.delimiter",
            fix="give one character, such as ; or tab",
        )
    return sign


def _find(file: Iterable[str], path: Path, wanted: list[str]) -> str:
    """The delimiter under which the header has most of the columns that are wanted, then most cells."""
    first = "".join(line for line, _ in zip(file, range(64), strict=False))
    usual = "\t" if path.suffix.lower() == ".tsv" else ","

    def score(sign: str) -> tuple[int, int, bool]:
        header = next(
            (row for row in csv.reader(first.splitlines(True), delimiter=sign) if row), []
        )
        names = {name.strip() for name in header}
        return len(names.intersection(wanted)), len(header), sign == usual

    return max(DELIMITERS, key=score)
