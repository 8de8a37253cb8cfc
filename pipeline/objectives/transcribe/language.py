"""What training texts say of the language: how likely a symbol is to follow others."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from pipeline.modalities.section import Section

END = 0  # the text's end, at the blank's place; before the first symbol, its beginning
LEARNED_SYMBOLS = 300_000  # of the training texts that counts are taken of: memory is bounded


class LanguageConfig(Section):
    """Counts of symbols behind one another in the training texts, which the search listens to as well."""

    order: Annotated[
        int, Field(ge=1, le=12, description="symbols of the longest sequence that is counted")
    ] = 4
    weight: Annotated[
        float, Field(ge=0, le=10, description="of what the language says, beside what was heard")
    ] = 0.5
    bonus: Annotated[
        float,
        Field(ge=-20, le=20, description="for each symbol: the language alone favours short texts"),
    ] = 0.0
    most: Annotated[
        int,
        Field(ge=100, le=1_000_000, description="sequences that are kept, the most frequent ones"),
    ] = 20_000


class Grams:
    """Probabilities of symbols behind others, by counts of sequences, smoothed.

    Source:
        Witten & Bell 1991, "The zero-frequency problem: estimating the probabilities of novel events in adaptive text
        compression", method C, interpolated with the next shorter sequence as in Chen & Goodman 1998, "An empirical
        study of smoothing techniques for language modeling", section 2.5; the shortest with the uniform distribution.

    Args:
        counts: Sequence, of at least one symbol -> how often it occurs; with a sequence, what is behind its first
            symbol is there too.
        size: Symbols that there are, the end among them (V).
        order: Symbols of the longest sequence.
    """

    def __init__(self, counts: Mapping[tuple[int, ...], int], size: int, order: int) -> None:
        self.counts, self.size, self.order = counts, size, order
        self._behind: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
        for gram, count in counts.items():
            self._behind[gram[:-1]].append((gram[-1], count))
        self._known: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def probabilities(self, before: Sequence[int]) -> NDArray[np.float64]:
        """Of each symbol to come next, float64 (V,), that of the end first; they add up to one.

        Args:
            before: The symbols so far, from the first on.
        """
        history = (END, *before)
        return self._smoothed(tuple(history[max(0, len(history) - self.order + 1) :]))

    def _smoothed(self, history: tuple[int, ...]) -> NDArray[np.float64]:
        known = self._known.get(history)
        if known is not None:
            return known
        shorter = self._smoothed(history[1:]) if history else np.full(self.size, 1.0 / self.size)
        behind = self._behind.get(history, [])
        counts = np.zeros(self.size)
        for symbol, count in behind:
            counts[symbol] = count
        novel = len(behind)
        known = (counts + novel * shorter) / (counts.sum() + novel) if novel else shorter
        self._known[history] = known
        return known

    def to_json(self) -> JsonValue:
        """What :meth:`from_json` makes it of."""
        rows: list[JsonValue] = [[*gram, count] for gram, count in self.counts.items()]
        return {"size": self.size, "order": self.order, "sequences": rows}

    @classmethod
    def from_json(cls, values: Any) -> Grams:
        """The counts that were learned."""
        counts = {tuple(row[:-1]): row[-1] for row in values["sequences"]}
        return cls(counts, values["size"], values["order"])


class Fusion:
    """What counts say, as a search adds it to what was heard; see :class:`pipeline.nets.prefix_search.Language`."""

    def __init__(self, grams: Grams, config: LanguageConfig) -> None:
        self.grams, self.config = grams, config

    def following(self, before: Sequence[int]) -> NDArray[np.float64]:
        numbers = self.config.weight * np.log(self.grams.probabilities(before))
        numbers[1:] += self.config.bonus
        return np.asarray(numbers)


def learned_grams(texts: Mapping[tuple[int, ...], int], size: int, config: LanguageConfig) -> Grams:
    """Counts sequences of symbols.

    Args:
        texts: Symbols of a text -> how often it occurs; of very many, some that are the same wherever this runs.
        size: Symbols that there are, the end among them.
        config: Which sequences.
    """
    counts: Counter[tuple[int, ...]] = Counter()
    budget = LEARNED_SYMBOLS
    for text in sorted(texts, key=_scattered):
        symbols = (END, *text, END)
        for end in range(1, len(symbols)):
            for start in range(max(0, end + 1 - config.order), end + 1):
                counts[symbols[start : end + 1]] += texts[text]
        budget -= len(symbols)
        if budget < 0:
            break
    # A sequence is no more frequent than what is behind its first symbol, which therefore stays where it does.
    kept = sorted(counts, key=lambda gram: (-counts[gram], len(gram), gram))[: config.most]
    return Grams({gram: counts[gram] for gram in kept}, size, config.order)


def _scattered(text: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return zlib.crc32(",".join(map(str, text)).encode()), text
