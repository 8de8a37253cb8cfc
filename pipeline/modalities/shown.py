"""What a person sees, hears or reads of a member, by how it is shown rather than by what it is of."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from pydantic import JsonValue

Medium = Literal["picture", "sound", "text", "plot", "film"]
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing to look at, to listen to or to read.

    Attributes:
        medium: How it is shown.
        content: A PNG of a picture or plot, a WAV of a sound, a text, or the bytes of a :class:`Film`.
    """

    medium: Medium
    content: str | bytes

    @classmethod
    def of_text(cls, text: str) -> Shown:
        """A text to read."""
        return cls("text", text)

    def to_json(self) -> dict[str, JsonValue]:
        """As a record keeps it: bytes in base 64."""
        content = self.content
        if isinstance(content, bytes):
            return {"medium": self.medium, "bytes": base64.b64encode(content).decode("ascii")}
        return {"medium": self.medium, "text": content}

    @classmethod
    def from_json(cls, values: Mapping[str, JsonValue]) -> Shown:
        """What :meth:`to_json` made."""
        medium = cast(Medium, values["medium"])
        if "text" in values:
            return cls(medium, str(values["text"]))
        return cls(medium, base64.b64decode(str(values["bytes"])))


@dataclass(frozen=True, slots=True)
class InTime:
    """A picture of what is heard or seen, along its time.

    Attributes:
        picture: PNG, time to the right.
        seconds: From its left edge to its right one.
    """

    picture: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Film:
    """Pictures that move, for those who play them and for those who read.

    Attributes:
        strip: Some of them beside each other, as PNG.
        player: All of them, or the first seconds, as WebM.
    """

    strip: bytes
    player: bytes

    def to_bytes(self) -> bytes:
        """Both, as they leave the process that decodes."""
        return len(self.strip).to_bytes(_LENGTH_BYTES, "big") + self.strip + self.player

    @classmethod
    def from_bytes(cls, content: bytes) -> Film:
        """The film that :meth:`to_bytes` made."""
        end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
        return cls(content[_LENGTH_BYTES:end], content[end:])


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text of which something was taken away.

    Attributes:
        pieces: (piece, whether it is still there).
    """

    pieces: Sequence[tuple[str, bool]]


def readable(media: Mapping[str, Medium]) -> list[str]:
    """Names of the modalities whose members are texts, for name -> how its members are shown."""
    return [name for name, medium in media.items() if medium == "text"]
