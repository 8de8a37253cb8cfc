"""How much a shard may make a reader hold or unpack."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Beyond these, what is read is ``too_large`` and the job goes on.

    Attributes:
        member_bytes: Of one member.
        unpacked_bytes: Of a compressed shard, unpacked.
        expansion: Unpacked bytes to packed ones; looked at from ``expansion_from_bytes`` on, since a small archive of
            small files is mostly padding.
        expansion_from_bytes: See above.
    """

    member_bytes: int = 256 << 20
    unpacked_bytes: int = 16 << 30
    expansion: int = 200
    expansion_from_bytes: int = 4 << 20
