"""Which members of a tar make a sample: neighbours whose names share a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pipeline.shards.tar import Damage, Member

Members = list[tuple[str, Member]]


class Group(NamedTuple):
    """The members of one sample.

    Attributes:
        key: What their names share.
        members: ``(extension, member)``, in the order of the archive.
        damage: Damage that took another member of the sample away, as far as that can be known.
    """

    key: str
    members: Members
    damage: Damage | None = None


def group_members(items: Iterable[Member | Damage]) -> Iterator[Group | Damage]:
    """Groups neighbouring members that share a key; damage comes after the group that it follows or lies in.

    A sample beside damage has lost a member to it if it goes on behind the damage, if the name of the lost member can
    be read and is of its key, or if it lacks just those fields on the side of the damage that the last sample away
    from any damage has.
    """
    grouping = _Grouping()
    for item in items:
        if isinstance(item, Damage):
            grouping.after.append(item)
            continue
        key, extension = split_name(item.name)
        if key != grouping.key or (grouping.after and grouping.has(extension)):
            yield from grouping.close(key)
            grouping.key, grouping.members = key, []
        elif grouping.after:
            grouping.inside += grouping.after
            grouping.after = []
        grouping.members.append((extension, item))
    yield from grouping.close(None)


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


class _Grouping:
    """The group that is being read, and the damage around it."""

    def __init__(self) -> None:
        self.key: str | None = None
        self.members: Members = []
        self.before: list[Damage] = []
        self.inside: list[Damage] = []
        self.after: list[Damage] = []
        self.last: Group | None = None  # the group before this one
        self.usual: Members = []  # of the last group that has lost nothing

    def has(self, extension: str) -> bool:
        return _has(self.members, extension)

    def close(self, next_key: str | None) -> Iterator[Group | Damage]:
        """The group, now that it has ended, and the damage in and behind it."""
        if self.key is not None:
            group = Group(self.key, self.members)
            if self.before or self.inside or self.after:
                group = group._replace(damage=self._damage(next_key))
            if group.damage is None:
                self.usual = self.members
            self.last = group
            yield group
        yield from self.inside
        yield from self.after
        self.before, self.inside, self.after = self.after, [], []

    def _damage(self, next_key: str | None) -> Damage | None:
        """What took a member of this group away."""
        if self.inside:
            return self.inside[-1]
        fields = [extension for extension, _ in self.members]
        usual = [extension for extension, _ in self.usual]
        short = len(fields) < len(usual)
        next_group = None if next_key is None else Group(next_key, [])
        return self._taken(
            self.after, next_group, suspect=short and usual[: len(fields)] == fields
        ) or self._taken(self.before, self.last, suspect=short and usual[-len(fields) :] == fields)

    def _taken(
        self, damages: Sequence[Damage], other: Group | None, *, suspect: bool
    ) -> Damage | None:
        """Which of the damages on one side took a member of this group.

        Args:
            damages: Those on that side.
            other: The group on their other side, as far as it is known.
            suspect: Whether this group lacks fields on that side.
        """
        found: Damage | None = None
        for damage in damages:
            if damage.lost is None:
                continue
            # The name in a damaged header may be damaged too: a field that the sample has is not the one it lost.
            key, extension = split_name(damage.lost)
            if key == self.key and not self.has(extension):
                return damage
            if other is not None and key == other.key and not _has(other.members, extension):
                suspect = False
            found = damage
        return found if suspect else None


def _has(members: Members, extension: str) -> bool:
    return any(extension == other for other, _ in members)


def _text(raw: str) -> str:
    return raw.encode("utf-8", "backslashreplace").decode()
