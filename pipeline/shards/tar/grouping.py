"""Which members of a tar make a sample: neighbours whose names share a key.

Members that belong to no sample part no neighbours: those of :mod:`pipeline.shards.tar.strays`, which are left out
before, and those without an extension, which come as groups of their own behind the sample that they lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pipeline.shards.tar.members import Damage, Member
from pipeline.shards.tar.strays import LAST_LETTERS, stray_kind

Members = list[tuple[str, Member]]


class Group(NamedTuple):
    """The members of one sample.

    Attributes:
        key: What their names share.
        members: ``(extension, member)``, in the order of the archive.
        fields: Their extensions; none where it is no sample, but a lone member without one.
        damage: Damage that took another member of the sample away, as far as that can be known.
    """

    key: str
    members: Members
    fields: tuple[str, ...]
    damage: Damage | None = None


def group_members(
    items: Iterable[Member | Damage], on_stray: Callable[[Member, str], None] | None = None
) -> Iterator[Group | Damage]:
    """Groups neighbouring members that share a key; damage comes after the group that it follows or lies in.

    A sample beside damage has lost a member to it if it goes on behind the damage, if the name of the lost member can
    be read and is of its key, or if it lacks just those fields on the side of the damage that the last sample away
    from any damage has.

    Args:
        items: From :func:`pipeline.shards.tar.scanner.scan`.
        on_stray: Told of each member that belongs to no sample and is passed over, and of its kind.
    """
    grouping = _Grouping()
    for item in items:
        if isinstance(item, Damage):
            grouping.after.append(item)
            continue
        name = item[0]
        key, _, extension = name.partition(".")
        if (
            key == grouping.key
            and extension.isalnum()
            and name[-1] not in LAST_LETTERS
            and name.isascii()
        ):
            extension = extension.lower()  # the sample goes on, as with most members
        else:
            kind = stray_kind(name)
            if kind is not None:
                if on_stray is not None:
                    on_stray(item, kind)
                continue
            key, extension = split_name(name)
            if not extension:
                yield from grouping.set_aside(key, item)
                continue
            if key != grouping.key:
                yield from grouping.close(key)
        if grouping.after:
            yield from grouping.meet_damage(key, extension)
        grouping.members.append((extension, item))
        grouping.fields.append(extension)
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
        self.fields: list[str] = []
        self.before: list[Damage] = []
        self.inside: list[Damage] = []
        self.after: list[Damage] = []
        self.last: Group | None = None  # the group before this one
        self.usual: Members = []  # of the last group that has lost nothing
        self.aside: list[Group] = []  # met in this group, and of no sample

    def has(self, extension: str) -> bool:
        return _has(self.members, extension)

    def meet_damage(self, key: str, extension: str) -> Iterator[Group | Damage]:
        """Takes the damage before a member of this key: inside the sample, unless that has its field already."""
        if self.has(extension):
            yield from self.close(key)
        else:
            self.inside += self.after
            self.after = []

    def set_aside(self, key: str, member: Member) -> Iterator[Group]:
        """Takes a member without an extension: it comes behind the group that it may lie in."""
        group = Group(key, [("", member)], ())
        if self.key is None:
            yield group
        else:
            self.aside.append(group)

    def close(self, next_key: str | None) -> Iterator[Group | Damage]:
        """The group, now that it has ended, and the damage in and behind it."""
        if self.key is not None:
            group = Group(self.key, self.members, tuple(self.fields))
            if self.before or self.inside or self.after:
                group = group._replace(damage=self._damage(next_key))
            if group.damage is None:
                self.usual = self.members
            self.last = group
            yield group
        yield from self.aside
        yield from self.inside
        yield from self.after
        self.key, self.members, self.fields, self.aside = next_key, [], [], []
        self.before, self.inside, self.after = self.after, [], []

    def _damage(self, next_key: str | None) -> Damage | None:
        """What took a member of this group away."""
        if self.inside:
            return self.inside[-1]
        fields = [extension for extension, _ in self.members]
        usual = [extension for extension, _ in self.usual]
        short = len(fields) < len(usual)
        next_group = None if next_key is None else Group(next_key, [], ())
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
        candidate: Damage | None = None
        for damage in damages:
            if damage.lost is None or stray_kind(damage.lost) is not None:
                continue
            # The name in a damaged header may be damaged too: a field that the sample has is not the one it lost.
            key, extension = split_name(damage.lost)
            if key == self.key and not self.has(extension):
                return damage
            if other is not None and key == other.key and not _has(other.members, extension):
                suspect = False
            candidate = damage
        return candidate if suspect else None


def _has(members: Members, extension: str) -> bool:
    return any(extension == name for name, _ in members)


def _text(raw: str) -> str:
    return raw.encode("utf-8", "backslashreplace").decode()
