"""Characters of texts that a vocabulary has no symbol of their own for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipeline.objectives.texts.vocabulary import UNKNOWN, Characters, Vocabulary


def lacking_characters(vocabulary: Vocabulary, texts: Iterable[str]) -> Counter[str]:
    """Character -> how often texts hold it that the vocabulary lacks; pieces down to bytes lack none."""
    if not isinstance(vocabulary, Characters):
        return Counter()
    characters: Counter[str] = Counter()
    for text in texts:
        symbols = vocabulary.encode(text)
        if UNKNOWN in symbols:
            pairs = zip(text, symbols, strict=True)
            characters.update(character for character, symbol in pairs if symbol == UNKNOWN)
    return characters
