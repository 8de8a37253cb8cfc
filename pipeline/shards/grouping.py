"""Which members of a tar make a sample: neighbours whose names share a key."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.shards.tar import Damage, Member

Group = tuple[str, list[tuple[str, Member]]]


def group_members(items: Iterator[Member | Damage]) -> Iterator[Group | Damage]:
    """Groups neighbouring members that share a key into ``(key, [(extension, member), ...])``."""
    key: str | None = None
    members: list[tuple[str, Member]] = []
    for item in items:
        if isinstance(item, Damage):
            if key is not None:
                yield key, members
            key, members = None, []
            yield item
            continue
        name, extension = split_name(item.name)
        if name != key:
            if key is not None:
                yield key, members
            key, members = name, []
        members.append((extension, item))
    if key is not None:
        yield key, members


def split_name(name: str) -> tuple[str, str]:
    """Splits a member's name at the first dot of its last component; the extension in lower case.

    The key is text that Parquet can hold: bytes that are no UTF-8 are shown as escapes. Keys never become paths.
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    key = f"{folder}{slash}{stem}".encode("utf-8", "backslashreplace").decode()
    return key, extension.lower().encode("utf-8", "backslashreplace").decode()
