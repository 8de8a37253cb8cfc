"""Symbols of a vocabulary as the outputs of a network that says one, or the blank, for each token.

The blank stands at PAD's place, and symbols that no text holds are left out: the k-th output is the symbol ``k + END``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pipeline.objectives.texts.vocabulary import END, Vocabulary


def outputs_of(vocabulary: Vocabulary) -> int:
    """How many outputs there are, the blank among them."""
    return vocabulary.size - END


def outputs_for(text: str, vocabulary: Vocabulary) -> list[int]:
    """The outputs of a text; the blank is none of them."""
    return [symbol - END for symbol in vocabulary.encode(text)]


def text_of(outputs: Sequence[int], vocabulary: Vocabulary) -> str:
    """The other way round."""
    return vocabulary.decode([output + END for output in outputs]).strip()


def needed_by(outputs: Sequence[int]) -> int:
    """Fewest tokens that can say them: one each, and a blank between two that are equal."""
    return len(outputs) + sum(left == right for left, right in pairwise(outputs))
