"""The likeliest text of a probability of symbols for each token, by a beam of its beginnings.

What the beam ranks texts by is the sum over all paths that say a text, which one path of each would not tell, and what
is known of the language.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.nets.ctc import BLANK

NEVER = -math.inf


class Language(Protocol):
    """How likely symbols are to follow others, whatever was heard."""

    def following(self, before: Sequence[int]) -> NDArray[np.float64]:
        """Of each symbol to come next, float64 (V,), to be added to log-probabilities.

        Args:
            before: The symbols so far.

        Returns:
            At the blank's place that of the text's end.
        """


class _Prefix:
    """The beginning of a text.

    Attributes:
        parent: It without its last symbol; None for the empty one.
        symbol: Its last symbol; the blank of the empty one.
        known: What the language says of it, without its end.
        blank: Log-probability of its paths that end with the blank, after the tokens so far.
        said: Of those that end with its last symbol.
        order: Its place among those that were ever made, by which ties are told.
    """

    __slots__ = (
        "_following",
        "blank",
        "children",
        "known",
        "next_blank",
        "next_said",
        "order",
        "parent",
        "said",
        "symbol",
    )

    def __init__(self, parent: _Prefix | None, symbol: int, known: float, order: int) -> None:
        self.parent, self.symbol, self.known, self.order = parent, symbol, known, order
        self.blank = self.said = self.next_blank = self.next_said = NEVER
        self.children: dict[int, _Prefix] = {}
        self._following: NDArray[np.float64] | None = None

    @property
    def heard(self) -> float:
        """Log-probability of all paths so far that say it."""
        return _sum(self.blank, self.said)

    def symbols(self) -> list[int]:
        """Its symbols, in their order."""
        return list(_upwards(self))[::-1]

    def following(self, language: Language) -> NDArray[np.float64]:
        """What the language says of what comes next."""
        if self._following is None:
            self._following = language.following(self.symbols())
        return self._following


def prefix_search(
    log_probabilities: NDArray[np.float32],
    width: int,
    candidates: int,
    language: Language | None = None,
) -> list[int]:
    """The symbols of the likeliest text.

    Args:
        log_probabilities: float32 (L, V), of each symbol for each real token.
        width: Beginnings that are followed.
        candidates: Symbols that may go on at a token: its likeliest, the blank aside.
        language: Its numbers are added to the log-probabilities of beginnings, and of the text's end.

    Source:
        Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent
        DNNs", algorithm 1; the sums are those of Graves 2012, "Supervised sequence labelling with recurrent neural
        networks", section 7.5, prefix search decoding.
    """
    root = _Prefix(None, BLANK, 0.0, 0)
    root.blank = 0.0
    beam, made = [root], 1
    for row in log_probabilities.astype(np.float64):
        likely = _likeliest(row, candidates)
        reached: dict[int, _Prefix] = {}
        for prefix in beam:
            heard = prefix.heard
            reached[prefix.order] = prefix
            prefix.next_blank = _sum(prefix.next_blank, heard + row[BLANK])
            if prefix.parent is not None:
                prefix.next_said = _sum(prefix.next_said, prefix.said + row[prefix.symbol])
            for symbol in likely:
                child = prefix.children.get(symbol)
                if child is None:
                    known = 0.0 if language is None else float(prefix.following(language)[symbol])
                    child = _Prefix(prefix, symbol, prefix.known + known, made)
                    prefix.children[symbol] = child
                    made += 1
                # Behind itself a symbol is another one only where a blank was between.
                before = prefix.blank if symbol == prefix.symbol else heard
                child.next_said = _sum(child.next_said, before + row[symbol])
                reached[child.order] = child
        beam = _pruned(list(reached.values()), width)
    if language is None:
        return beam[0].symbols()
    ends = [prefix.heard + prefix.known + prefix.following(language)[BLANK] for prefix in beam]
    return beam[int(np.argmax(ends))].symbols()


def _pruned(prefixes: list[_Prefix], width: int) -> list[_Prefix]:
    """The likeliest, with what they have become; the others are as if they had never been."""
    for prefix in prefixes:
        prefix.blank, prefix.said = prefix.next_blank, prefix.next_said
        prefix.next_blank = prefix.next_said = NEVER
    prefixes.sort(key=lambda prefix: (-(prefix.heard + prefix.known), prefix.order))
    for prefix in prefixes[width:]:
        prefix.blank = prefix.said = NEVER
    return prefixes[:width]


def _likeliest(row: NDArray[np.float64], candidates: int) -> list[int]:
    """The likeliest symbols of a token, the blank aside; of equal ones the first."""
    order = np.argsort(-row, kind="stable")
    return [int(symbol) for symbol in order[: candidates + 1] if symbol != BLANK][:candidates]


def _upwards(prefix: _Prefix) -> Iterator[int]:
    """The symbols of a beginning, the last one first."""
    at: _Prefix | None = prefix
    while at is not None and at.parent is not None:
        yield at.symbol
        at = at.parent


def _sum(first: float, second: float) -> float:
    """Logarithm of the sum of two numbers, by their logarithms."""
    high, low = (first, second) if first >= second else (second, first)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))
