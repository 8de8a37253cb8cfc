"""What a person sees, hears or reads of a member, by how it is shown rather than by what it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Medium = Literal["picture", "sound", "text", "plot"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing to look at, to listen to or to read.

    Attributes:
        medium: How it is shown.
        content: A PNG of a picture or plot, a WAV of a sound, or a text.
    """

    medium: Medium
    content: str | bytes


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text of which something was taken away.

    Attributes:
        pieces: (piece, whether it is still there).
    """

    pieces: Sequence[tuple[str, bool]]
