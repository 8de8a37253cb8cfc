"""Shards: with hostile names and members, cut, flipped, forged or packed too well; and what is left of each."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import zstandard

BLOCK = 512
END = bytes(2 * BLOCK)


@dataclass(frozen=True)
class TarCase:
    """One or more shards.

    Attributes:
        name: What is the matter.
        shards: File name -> bytes.
        keys: Of the samples that can be used, in order.
        faults: Key (None for the shard itself) and reason of the others, in order.
        bomb: Whether it is to make the reader use memory or time.
    """

    name: str
    shards: dict[str, bytes]
    keys: list[str]
    faults: list[tuple[str | None, str]] = field(default_factory=list)
    bomb: bool = False


def member(
    name: str | bytes,
    data: bytes = b"text",
    kind: bytes = b"0",
    *,
    size: int | None = None,
    link: str = "",
) -> bytes:
    """A header of POSIX tar, its content and the padding."""
    info = tarfile.TarInfo("x")
    info.type, info.linkname = kind, link
    info.size = len(data) if size is None else size
    block = bytearray(
        info.tobuf(tarfile.GNU_FORMAT if info.size >= 8 << 30 else tarfile.USTAR_FORMAT)
    )
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    block[:100] = raw.ljust(100, b"\0")
    return sealed(block) + data + bytes(-len(data) % BLOCK)


def sealed(block: bytes | bytearray) -> bytes:
    """A header with a checksum that holds."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(records: bytes, kind: bytes = b"x") -> bytes:
    return member("PaxHeaders/x", records, kind)


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    size = len(text) + len(str(len(text) + 2))
    return str(size).encode() + text


def tar(*members: bytes, end: bytes = END) -> bytes:
    return b"".join(members) + end


A, B, C = (member(f"{key}.txt") for key in "abc")
ABC = ["a", "b", "c"]


def cases() -> Iterator[TarCase]:
    for name, data, keys, faults in [*_whole(), *_hostile(), *_members(), *_damaged()]:
        yield TarCase(name, {"x.tar": data}, keys, faults)
    yield from _shards()
    yield from _packed()


Row = tuple[str, bytes, list[str], list[tuple[str | None, str]]]


def _whole() -> Iterator[Row]:
    yield "three samples", tar(A, B, C), ABC, []
    yield "folders", tar(member("d/", b"", b"5"), member("d/a.txt"), B), ["d/a", "b"], []
    yield (
        "old headers",
        tar(*(sealed(m[:257] + bytes(255)) + m[BLOCK:] for m in (A, B))),
        ["a", "b"],
        [],
    )
    yield "padding to a record", tar(A, end=bytes(10_240 - len(A))), ["a"], []
    yield (
        "long names",
        tar(extended(record("path", "n" * 300 + ".txt")), A, B),
        ["n" * 300, "b"],
        [],
    )
    yield "a global header", tar(extended(record("comment", "x"), b"g"), A), ["a"], []
    yield "an empty file", tar(member("a.txt", b""), B), ["a", "b"], []
    yield "upper-case extensions", tar(member("a.TXT"), B), ["a", "b"], []


def _hostile() -> Iterator[Row]:
    for name in (
        "/etc/passwd", "../../up", "a/../../b", "./a", "//a", "C:\\up", "a\\b", "~/a", "$(id)", "`id`",
        "; rm -rf", "-rf", "__key__", "__url__", "__index__", "con", "a b", "a\nb", "a\x1b[31m", "\u202etxt", "a\tb",
        "<script>", "' or 1=1", "%s%n", "中文", "e\u0301", "\u00e9", "a" * 90,
    ):  # fmt: skip
        yield f"the name {name!r}", tar(member(f"{name}.txt"), B), [name, "b"], []
    yield "a name that is no UTF-8", tar(member(b"a\xff\xfe.txt"), B), ["a\\udcff\\udcfe", "b"], []
    yield (
        "an extension that is no UTF-8",
        tar(member(b"a.t\xff"), member(b"a.txt"), B),
        ["a", "b"],
        [],
    )
    yield "keys that differ in case", tar(member("A.txt"), A), ["A", "a"], []
    yield (
        "keys that look alike",
        tar(member("e\u0301.txt"), member("\u00e9.txt")),
        ["e\u0301", "\u00e9"],
        [],
    )
    for name in ("noextension", "d/noextension", "a."):
        key = name.rstrip(".")
        yield f"the file {name}", tar(A[:0], member(name), B), ["b"], [(key, "no_extension")]
    yield "a dot file", tar(member(".txt"), B), ["b"], []
    for name in (
        "._a.cls",
        "__MACOSX/._a.txt",
        ".DS_Store",
        "Thumbs.db",
        "d/desktop.ini",
        "a.txt~",
        "@eaDir/a.txt",
    ):
        stray = member(name)
        yield (
            f"{name} in a sample",
            tar(stray, A, stray, member("a.cls"), stray, B, stray),
            ["a", "b"],
            [],
        )
    yield "a member without extension in a sample", tar(A, member("README"), member("a.cls"), B), [
        "a", "b"], [("README", "no_extension")]  # fmt: skip
    yield "nothing but hidden files", tar(member(".a.txt"), member(".b.txt")), [], [
        (None, "empty_shard")]  # fmt: skip
    yield "samples that are not side by side", tar(A, B, member("a.cls"), member("b.cls"), C), ["c"], [
        (key, "interleaved") for key in "abab"]  # fmt: skip
    yield "a key that comes again with fewer fields", tar(A, member("a.cls"), B, A), ["a", "b"], [
        ("a", "duplicate_key")]  # fmt: skip
    yield "a key that comes thrice, then with another field", tar(A, B, A, C, member("a.cls")), [
        "b", "c"], [("a", "interleaved")] * 3  # fmt: skip
    yield (
        "fields of other tools",
        tar(A, member("a.__key__"), member("a.__url__"), B),
        ["a", "b"],
        [],
    )
    yield "a key that comes again", tar(A, B, A), ["a", "b"], [("a", "duplicate_key")]
    yield "a key that comes thrice", tar(A, B, A, B, A), ["a", "b"], [
        ("a", "duplicate_key"), ("b", "duplicate_key"), ("a", "duplicate_key")]  # fmt: skip
    yield "a field twice", tar(A, A, B), ["b"], [("a", "duplicate_field")]
    yield (
        "a field twice in other case",
        tar(A, member("a.TXT"), B),
        ["b"],
        [("a", "duplicate_field")],
    )


def _members() -> Iterator[Row]:
    kinds = {
        "hard link": b"1",
        "symbolic link": b"2",
        "character device": b"3",
        "block device": b"4",
        "FIFO": b"6",
    }
    for name, kind in kinds.items():
        odd = member("b.txt", b"", kind, link="/etc/passwd")
        yield f"a {name}", tar(A, odd, C), ["a", "c"], [("b", "unsafe_member")]
        yield f"a {name} in a sample", tar(A, B, member("b.cls", b"", kind, link="b.txt"), C), ["a", "c"], [
            ("b", "unsafe_member")]  # fmt: skip
        yield f"a {name} that declares a size", tar(A, member("b.txt", b"", kind, size=1 << 30), C), ["a", "c"], [
            ("b", "unsafe_member")]  # fmt: skip
    yield (
        "a member of no known type",
        tar(A, member("b.txt", b"x", b"Z"), C),
        ["a", "c"],
        [("b", "unsafe_member")],
    )
    sparse = bytearray(member("b.txt", b"", b"S", size=0)[:BLOCK])
    sparse[386:410] = b"%011o\0%011o\0" % (0, 0)
    sparse[483:495] = b"%011o\0" % (1 << 32)
    yield "a sparse file of 4 GiB", tar(A, sealed(sparse), C), ["a", "c"], [("b", "unsafe_member")]
    records = record("GNU.sparse.major", "1") + record("GNU.sparse.realsize", str(1 << 40))
    yield "a sparse file of PAX", tar(A, extended(records), member("b.txt", b"0\n"), C), ["a", "c"], [
        ("b", "unsafe_member")]  # fmt: skip


def _damaged() -> Iterator[Row]:
    shard = tar(A, B, C)
    yield "an empty file for a shard", b"", [], [(None, "not_tar")]
    yield "zeros for a shard", bytes(10_240), [], [(None, "empty_shard")]
    yield "a folder alone", tar(member("d/", b"", b"5")), [], [(None, "empty_shard")]
    for name, data in {
        "text": b"no tar at all " * 100,
        "a page": b"<!DOCTYPE html><html>not found</html>",
        "gzip": gzip.compress(shard),
        "zip": b"PK\x03\x04" + bytes(1000),
        "json": b'{"error": 404}',
    }.items():
        yield f"{name} for a shard", data, [], [(None, "not_tar")]
    yield "cut inside the first header", shard[:300], [], [(None, "truncated_shard")]
    yield "cut inside a header", shard[:1300], ["a"], [(None, "truncated_shard")]
    yield "cut behind a header", shard[:1536], ["a"], [(None, "truncated_shard")]
    yield "cut inside a content", shard[:1538], ["a"], [(None, "truncated_shard")]
    yield "cut at a member", shard[:2048], ["a", "b"], [(None, "missing_end")]
    yield "cut inside the end", shard[:-BLOCK], ABC, [(None, "missing_end")]
    yield "without its end", shard[: -2 * BLOCK], ABC, [(None, "missing_end")]
    yield "bytes behind its end", shard + b"more" * 300, ABC, [(None, "trailing_data")]
    yield "zeros amid", tar(A, bytes(2 * BLOCK), B), ["a", "b"], [(None, "bad_header")]
    for place in (0, 101, 124, 136, 148, 156):
        broken = bytearray(shard)
        broken[1024 + place] ^= 0x01
        yield f"a flipped header at {place}", bytes(broken), ["a", "c"], [(None, "bad_header")]
    yield "a header of noise", tar(A, bytes(range(256)) * 2, C), ["a", "c"], [(None, "bad_header")]
    yield "a size of 8 GiB", tar(A, member("b.txt", b"x", size=8 << 30), C), ["a", "c"], [
        (None, "truncated_shard")]  # fmt: skip
    yield "a size of 1 GiB", tar(A, member("b.txt", b"x", size=1 << 30), C), ["a", "c"], [
        (None, "truncated_shard")]  # fmt: skip
    for name, field_ in {
        "negative": b"\xff" * 12,
        "of 2^90": b"\x80" + b"\x7f" * 11,
        "that is no number": b"notanumber!\0",
        "with a sign": b"-0000000010\0",
    }.items():
        block = bytearray(B[:BLOCK])
        block[124:136] = field_
        yield (
            f"a size {name}",
            tar(A, sealed(block), B[BLOCK:], C),
            ["a", "c"],
            [(None, "bad_header")],
        )
    for name, records in {
        "no length": b"path=x\n",
        "a long length": b"99 path=x\n",
        "no value": b"8 pathx\n",
        "a negative size": record("size", "-5"),
        "a size of 2^80": record("size", str(1 << 80)),
        "a size in words": record("size", "many"),
    }.items():
        yield f"an extended header with {name}", tar(A, extended(records), B, C), ["a", "c"], [
            (None, "bad_header")]  # fmt: skip
    huge = member("PaxHeaders/x", b"", b"x", size=2 << 30)
    yield "an extended header of 2 GiB", tar(A, huge, B, C), ["a", "c"], [(None, "bad_header")]


def _shards() -> Iterator[TarCase]:
    yield TarCase(
        "a key in two shards", {"x.tar": tar(A, B), "y.tar": tar(B, C)}, ["a", "b", "b", "c"]
    )
    yield TarCase(
        "a bad shard between good ones",
        {"x.tar": tar(A), "y.tar": b"no tar", "z.tar": tar(C)},
        ["a", "c"],
        [(None, "not_tar")],
    )


def _packed() -> Iterator[TarCase]:
    shard = tar(A, B, C)
    packed = gzip.compress(shard, mtime=0)
    yield TarCase("gzip", {"x.tar.gz": packed}, ABC)
    yield TarCase("zstandard", {"x.tar.zst": zstandard.compress(shard)}, ABC)
    yield TarCase("a tar named as gzip", {"x.tar.gz": shard}, [], [(None, "bad_compression")])
    yield TarCase("a tar named as zstandard", {"x.tar.zst": shard}, [], [(None, "bad_compression")])
    yield TarCase("gzip without its end", {"x.tgz": packed[:-6]}, ABC, [(None, "truncated_shard")])
    wrong = packed[:-8] + struct.pack("<I", zlib.crc32(shard) ^ 1) + packed[-4:]
    yield TarCase("gzip of another checksum", {"x.tar.gz": wrong}, ABC, [(None, "bad_compression")])
    more = {"x.tar.gz": packed + b"more"}
    yield TarCase("gzip and bytes behind it", more, ABC, [(None, "trailing_data")])
    empty = {"x.tar.gz": gzip.compress(b"")}
    yield TarCase("gzip of nothing", empty, [], [(None, "not_tar")])
    zeros = io.BytesIO()
    with gzip.GzipFile(fileobj=zeros, mode="wb", mtime=0) as file:
        file.write(A + member("b.txt", b"", size=100 << 20))
        for _ in range(100):
            file.write(bytes(1 << 20))
        file.write(C + END)
    yield TarCase(
        "gzip bomb", {"x.tar.gz": zeros.getvalue()}, ["a"], [(None, "too_large")], bomb=True
    )
    packer = zstandard.ZstdCompressor().compressobj()
    pieces = [packer.compress(A + member("b.txt", b"", size=400 << 20))]
    pieces += [packer.compress(bytes(4 << 20)) for _ in range(100)]
    pieces += [packer.compress(C + END), packer.flush()]
    yield TarCase(
        "zstandard bomb", {"x.tar.zst": b"".join(pieces)}, ["a"], [(None, "too_large")], bomb=True
    )
