"""What lies where in an output folder."""

from __future__ import annotations

import re

MANIFEST = "_manifest.json"
PARTS, COMMIT, QUARANTINE, SNAPSHOTS = "_parts", "_commit", "_quarantine", "_snapshots"
IDENTITY = "_identity.json"  # in _commit: what the rows depend on
PREFIX = "part-"  # of the files that readers see

_PART = re.compile(r"[0-9a-f]{24}")  # an identity, as Part.id gives it


def attempt_name(part: str, retry: int) -> str:
    """Begin of the names of a part's files: its identity, and a number where its bad samples were tried again."""
    return f"{part}.{retry}" if retry else part


def base_name(url: str) -> str:
    """The name of a file in its folder."""
    return url.rpartition("/")[2]


def part_of(url: str) -> str | None:
    """The part that a file is of, None where it is of none."""
    part = base_name(url).partition(".")[0]
    return part if _PART.fullmatch(part) else None
