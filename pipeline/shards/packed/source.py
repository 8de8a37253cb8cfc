"""Shards as files: their suffixes, and opening one however it is packed."""

from __future__ import annotations

from pipeline import storage
from pipeline.limits import Limits
from pipeline.shards.packed.compressed import Unpacked
from pipeline.shards.packed.kinds import packed_with


def is_packed(name: str) -> bool:
    """Whether a shard of this name is compressed as a whole, so that it is read from front to end."""
    return packed_with(name) is not None


def open_shard(
    name: str,
    url: str,
    start: int = 0,
    end: int | None = None,
    *,
    read_ahead: bool = False,
    limits: Limits | None = None,
) -> storage.ByteSource:
    """Opens a shard as the archive that it is, or that is packed in it.

    Args:
        name: The shard's name, whose suffix says how it is packed.
        url: Where it lies.
        start: Where reading will begin, as an offset in the archive.
        end: Where it will end; None is the end of the archive.
        read_ahead: Whether all of the range is going to be read, rather than headers here and there.
        limits: How much is unpacked.

    Raises:
        InputError: It is not there, or cannot be reached.
    """
    if is_packed(name):
        return Unpacked(storage.open_source(url, read_ahead=True), name, limits)
    return storage.open_source(url, start, end, read_ahead=read_ahead)
