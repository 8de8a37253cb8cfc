"""What lies in a tar: its members, and its damages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.shards.tar.header import BLOCK


class Member(NamedTuple):
    """A file of the archive.

    Attributes:
        name: As stored, folders included.
        header: Offset of its first header, long-name headers included.
        offset: Offset of its content.
        size: Bytes of content.
        special: What it is if it is no regular file: ``hard link``, ``FIFO``, ...; its content is never used.
    """

    name: str
    header: int
    offset: int
    size: int
    special: str = ""

    @property
    def end(self) -> int:
        """Offset just after the content's last block."""
        return self.offset + (self.size + BLOCK - 1) // BLOCK * BLOCK


@dataclass(frozen=True, slots=True)
class Damage:
    """A place where the archive is not what the format demands.

    Attributes:
        offset: Where.
        reason: A word of the vocabulary of reasons.
        detail: What is wrong, in words.
        lost: Name of the member that is lost with it, as far as it can be read; empty where a member may be lost and
            its name is not known; None where none is.
        setting: Dotted path of the setting that would let it through, if there is one.
    """

    offset: int
    reason: str
    detail: str
    lost: str | None = None
    setting: str = ""
