"""What a file is, by its name and by its first bytes: archives that are read, and those that are only named."""

from __future__ import annotations

from collections.abc import Mapping

# Suffix -> the format that a shard is packed with.
PACKED: Mapping[str, str] = {
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
    ".tar.bz2": "bzip2",
    ".tbz2": "bzip2",
    ".tbz": "bzip2",
    ".tar.xz": "xz",
    ".txz": "xz",
}
SUFFIXES = (".tar", *PACKED)

# Suffix -> what is not read, in words.
NOT_READ: Mapping[str, str] = {
    ".tar.lz4": "a tar packed with lz4",
    ".tar.lzma": "a tar packed with lzma",
    ".tlz": "a tar packed with lzma",
    ".tar.lz": "a tar packed with lzip",
    ".tar.lzo": "a tar packed with lzop",
    ".tar.br": "a tar packed with Brotli",
    ".tar.sz": "a tar packed with Snappy",
    ".tar.z": "a tar packed with compress",
    ".zip": "a zip archive",
    ".7z": "a 7-Zip archive",
    ".rar": "a RAR archive",
    ".cab": "a CAB archive",
    ".tfrecord": "a TFRecord file",
    ".mds": "a shard of MosaicML Streaming",
    ".beton": "an FFCV file",
}

_SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip: such a shard is to be named .tar.gz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard: such a shard is to be named .tar.zst"),
    (b"BZh", "bzip2: such a shard is to be named .tar.bz2"),
    (b"\xfd7zXZ\0", "xz: such a shard is to be named .tar.xz"),
    (b"\x04\x22\x4d\x18", "lz4: unpack it"),
    (b"LZIP", "lzip: unpack it"),
    (b"\x5d\0\0", "lzma: unpack it"),
    (b"\x1f\x9d", "compress: unpack it"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"PAR1", "a Parquet file"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself"),
)


def packed_with(name: str) -> str | None:
    """The format that a shard of this name is packed with as a whole; None where it is plain."""
    lower = name.lower()
    return next((kind for suffix, kind in PACKED.items() if lower.endswith(suffix)), None)


def not_read(name: str) -> str | None:
    """What a file of this name is that holds samples, as like as not, and is not read; None for all else."""
    lower = name.lower()
    return next((words for suffix, words in NOT_READ.items() if lower.endswith(suffix)), None)


def sign(head: bytes) -> str:
    """What a file is, by its first bytes, of which 512 tell most; empty where they do not tell."""
    if head[257:262] == b"ustar":
        return "a tar that is not packed: such a shard is to be named .tar"
    return next((words for mark, words in _SIGNS if head.startswith(mark)), "")
