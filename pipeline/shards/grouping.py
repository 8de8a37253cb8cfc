"""Which members of a tar make a sample: neighbours whose names share a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.shards.tar import Damage, Member


class Group(NamedTuple):
    """The members of one sample.

    Attributes:
        key: What their names share.
        members: ``(extension, member)``, in the order of the archive.
        damage: Damage that took another member of the sample away, as far as that can be known.
    """

    key: str
    members: list[tuple[str, Member]]
    damage: Damage | None = None


def group_members(items: Iterable[Member | Damage]) -> Iterator[Group | Damage]:
    """Groups neighbouring members that share a key; damage comes after the group that it follows or lies in.

    A sample has lost a member to damage if it goes on behind it, or if the lost member's name can be read. A field that
    comes again behind damage begins another sample of the same key.
    """
    group: Group | None = None
    damages: list[Damage] = []  # since the group's last member
    for item in items:
        if isinstance(item, Damage):
            damages.append(item)
            if group is not None and item.lost and split_name(item.lost)[0] == group.key:
                group = group._replace(damage=item)
            continue
        key, extension = split_name(item.name)
        if group is not None and key == group.key and not (damages and _has(group, extension)):
            group.members.append((extension, item))
            if damages:
                group = group._replace(damage=damages[-1])
            continue
        if group is not None:
            yield group
        yield from damages
        lost = damages[-1] if damages and split_name(damages[-1].lost)[0] == key else None
        group, damages = Group(key, [(extension, item)], lost), []
    if group is not None:
        yield group
    yield from damages


def split_name(name: str) -> tuple[str, str]:
    """Splits a member's name at the first dot of its last component; the extension in lower case.

    The key is text that Parquet can hold: bytes that are no UTF-8 are shown as escapes. Keys never become paths.
    """
    base = name.rfind("/") + 1
    dot = name.find(".", base)
    key, extension = (name, "") if dot < 0 else (name[:dot], name[dot + 1 :].lower())
    if name.isascii():
        return key, extension
    return _text(key), _text(extension)


def _has(group: Group, extension: str) -> bool:
    return any(extension == other for other, _ in group.members)


def _text(raw: str) -> str:
    return raw.encode("utf-8", "backslashreplace").decode()
