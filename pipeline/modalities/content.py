"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.storage import ByteSource

SNIFFED_BYTES = 512  # enough to tell any format below
TEXT = "text"
UNKNOWN = "unknown"
FILMS = ("mp4", "matroska", "avi", "mpeg")  # formats that hold frames, a sound track, or both


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one member, read where they are asked for.

    Attributes:
        size: Bytes of the member.
        head: The first of them.
        source: The shard, for what lies behind; None where it cannot be read again.
        offset: Where the member's content begins in the shard.
    """

    size: int
    head: memoryview
    source: ByteSource | None = None
    offset: int = 0

    def read(self, offset: int, length: int) -> memoryview:
        """Bytes from ``offset`` of the member on, fewer than ``length`` only at the member's end."""
        end = min(offset + length, self.size)
        if end <= len(self.head) or self.source is None:
            return self.head[offset:end]
        return self.source.read(self.offset + offset, max(0, end - offset))

    def whole(self) -> memoryview:
        """All bytes."""
        return self.read(0, self.size)


# Format -> a word for what it is, where no modality has it among its own (:mod:`pipeline.modalities.known_kinds`).
OTHER_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("html", "git-lfs pointer"), "page"),
    **dict.fromkeys(("zip", "gzip", "pdf", "npy", "parquet", "pickle"), "file"),
}

# Extension -> the formats that it may hold. Extensions that are not here may hold anything.
EXTENSIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("jpg", "jpeg"), ("jpeg",)),
    **{name: (name,) for name in ("png", "webp", "gif", "bmp", "avif", "svg")},
    **dict.fromkeys(("tif", "tiff"), ("tiff",)),
    **{name: (name,) for name in ("wav", "flac", "mp3", "aac")},
    **dict.fromkeys(("ogg", "oga", "opus"), ("ogg",)),
    **dict.fromkeys(("aif", "aiff"), ("aiff",)),
    **dict.fromkeys(("mp4", "m4v", "m4a", "mov"), ("mp4",)),
    **dict.fromkeys(("mkv", "webm"), ("matroska",)),
    "avi": ("avi",),
    **dict.fromkeys(("txt", "json", "jsonl", "cls", "csv", "caption"), (TEXT,)),
    "npy": ("npy",),
}

_PREFIXES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"RF64", "wav"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\0\0\x01\xba", "mpeg"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"%PDF", "pdf"),
    (b"\x93NUMPY", "npy"),
    (b"PAR1", "parquet"),
    *((bytes((0x80, protocol)), "pickle") for protocol in (2, 3, 4, 5)),
    (b"version https://git-lfs", "git-lfs pointer"),
)
# First byte -> the prefixes that begin with it.
_BY_FIRST = {
    first: [(prefix, name) for prefix, name in _PREFIXES if prefix[0] == first]
    for first in {prefix[0] for prefix, _ in _PREFIXES}
}
# Boxes that a QuickTime file may begin with, which need not say what it is.
_QUICKTIME = (b"moov", b"mdat", b"wide")
_CONTAINERS = {b"WAVE": "wav", b"WEBP": "webp", b"AVI ": "avi", b"AIFF": "aiff", b"AIFC": "aiff"}


def sniff(head: bytes) -> str:
    """Names the format of a file.

    Args:
        head: Its first ``SNIFFED_BYTES`` bytes, or all of it where it is shorter.

    Returns:
        One of the formats below, or ``unknown``.
    """
    for prefix, name in _BY_FIRST.get(head[0], ()) if head else ():
        if head.startswith(prefix):
            return name
    if head[:4] in (b"RIFF", b"FORM"):
        return _CONTAINERS.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return "avif" if head[8:12] in (b"avif", b"avis") else "mp4"
    if head[4:8] in _QUICKTIME:
        return "mp4"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "bmp"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        layer = head[1] >> 1 & 3
        if layer == 1 and head[2] >> 4 not in (0, 15) and head[2] >> 2 & 3 != 3:
            return "mp3"
        if layer == 0 and head[1] & 0xF0 == 0xF0:
            return "aac"
    return _text_format(head)


def misnamed(extension: str, found: str) -> bool:
    """Whether an extension promises another format than the one that was found."""
    formats = EXTENSIONS.get(extension.rpartition(".")[2])
    if formats is None or found in formats:
        return False
    # A text may be a page or a drawing; an image that is one cannot be decoded.
    return not (formats == (TEXT,) and found in ("html", "svg"))


def _text_format(head: bytes) -> str:
    """Text, and what a failed download leaves in place of a file."""
    if b"\0" in head:
        return UNKNOWN
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < SNIFFED_BYTES:
            return UNKNOWN
        text = head[: error.start].decode("utf-8-sig")  # cut inside a character
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype html", "<html")):
        return "html"
    if start.startswith("<svg") or (start.startswith("<?xml") and "<svg" in text.lower()):
        return "svg"
    return TEXT
