"""What a person sees, hears and reads of samples, as the templates take it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.modalities.shown import Film, MarkedText, Medium, Shown

MAX_MEDIA_BYTES = 400_000
MAX_TEXT = 400
SMALL_IMAGE = 64  # pixels; below it, an enlarged image shows them as squares
NOUNS: Mapping[Medium, str] = {
    "picture": "Image",
    "sound": "Sound",
    "text": "Text",
    "plot": "Plot",
    "film": "Film",
}
MIMES: Mapping[Medium, str] = {
    "picture": "image/png",
    "plot": "image/png",
    "sound": "audio/wav",
    "film": "video/webm",
}


@dataclass(frozen=True, slots=True)
class Media:
    """One modality of a sample on the page.

    Attributes:
        name: The modality's.
        medium: How it is shown.
        noun: What a screen reader calls it; with the modality's name where a sample has several of the kind.
        source: Data URI of a picture, plot, sound or film; None where it is a text or too large.
        size: Width and height of a picture, in pixels.
        pieces: Of a text, each with whether it is still there.
        is_too_large: Whether it is left out for its size.
    """

    name: str
    medium: Medium
    noun: str
    source: str | None = None
    size: tuple[int, int] | None = None
    pieces: Sequence[tuple[str, bool]] = ()
    is_too_large: bool = False

    @property
    def is_pixelated(self) -> bool:
        """Whether its pixels are so few that they are shown as squares."""
        return self.medium == "picture" and self.size is not None and max(self.size) < SMALL_IMAGE


def shown_media(shown: Mapping[str, Shown | MarkedText]) -> list[Media]:
    """The modalities of a sample, in their order; of a film first its strip of pictures, then what plays it."""
    counts = Counter(_medium(value) for value in shown.values())
    return [
        item
        for name, value in shown.items()
        for item in _items(name, value, is_one_of_several=counts[_medium(value)] > 1)
    ]


def _items(name: str, value: Shown | MarkedText, *, is_one_of_several: bool) -> list[Media]:
    if isinstance(value, MarkedText) or value.medium != "film" or isinstance(value.content, str):
        return [_media(name, value, is_one_of_several)]
    film = Film.from_bytes(value.content)
    player = _media(name, Shown("film", film.player), is_one_of_several)
    strip = _media(name, Shown("picture", film.strip), is_one_of_several)
    return [replace(strip, noun=f"Frames of {player.noun.lower()}"), player]


def _media(name: str, value: Shown | MarkedText, is_one_of_several: bool) -> Media:
    medium = _medium(value)
    noun = f"{NOUNS[medium]} {name}" if is_one_of_several else NOUNS[medium]
    if isinstance(value, MarkedText):
        return Media(name, medium, noun, pieces=value.pieces)
    if isinstance(value.content, str):
        return Media(name, medium, noun, pieces=[(clipped(value.content, MAX_TEXT), True)])
    return Media(
        name,
        medium,
        noun,
        source=data_uri(MIMES[medium], value.content),
        size=_png_size(value.content),
        is_too_large=len(value.content) > MAX_MEDIA_BYTES,
    )


def _medium(value: Shown | MarkedText) -> Medium:
    return "text" if isinstance(value, MarkedText) else value.medium


def _png_size(image: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG declares; None where it is something else."""
    if image[:8] != b"\x89PNG\r\n\x1a\n" or len(image) < 24:
        return None
    return int.from_bytes(image[16:20], "big"), int.from_bytes(image[20:24], "big")


def data_uri(kind: str, data: bytes) -> str | None:
    """Content within the page; None where it is too large for it."""
    if len(data) > MAX_MEDIA_BYTES:
        return None
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def clipped(value: object, limit: int = 160) -> str:
    """A value as text of at most ``limit`` characters."""
    text = "" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
