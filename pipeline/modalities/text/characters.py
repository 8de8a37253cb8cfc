"""Text bytes -> its characters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.modalities.text.codec import PAD, UTF_8, TextCodec

if TYPE_CHECKING:
    from pipeline.modalities.text import TextFilterConfig


class CharacterCodec(TextCodec):
    """Decodes a text to (L,) int32 code points, L <= ``max_characters``, without a tokenizer.

    The text is read and cleaned as :class:`TextCodec` does. It begins and ends with a space, so that the beginning of a
    word reads the same everywhere; a text without characters stays empty.

    Args:
        max_characters: Characters kept.
        max_bytes: Longer texts are refused.
        encoding: Of the texts, by Python's name.
        limits: Which good texts are left out; None leaves out none.
        lower: Puts texts in lower case.
    """

    def __init__(
        self,
        max_characters: int,
        max_bytes: int,
        encoding: str = UTF_8,
        limits: TextFilterConfig | None = None,
        *,
        lower: bool = True,
    ) -> None:
        super().__init__("", max_characters, max_bytes, encoding, limits)
        self.lower = lower

    def tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Cleaned texts -> (L,) int32 code points of each."""
        return [self._characters(text[: self.max_tokens].strip()) for text in texts]

    def _characters(self, text: str) -> np.ndarray:
        spaced = f" {text.lower() if self.lower else text} " if text else ""
        points = np.frombuffer(spaced.encode("utf-32-le"), dtype="<i4")
        return points[: self.max_tokens].astype(np.int32)

    def text(self, ids: np.ndarray) -> str:
        return "".join(map(chr, ids[ids != PAD].tolist())).strip()

    def marked(self, ids: np.ndarray, left: np.ndarray) -> list[tuple[str, bool]]:
        real = ids != PAD
        letters = zip(map(chr, ids[real].tolist()), (left == ids)[real].tolist(), strict=True)
        groups = itertools.groupby(letters, key=lambda letter: letter[1])
        return [("".join(text for text, _ in group), unchanged) for unchanged, group in groups]
