"""Texts as words, the one way in which all metrics of texts see them."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

Words = tuple[str, ...]

# Scripts that put no spaces between words: Thai, Lao, Myanmar, Khmer, the kana, Han with its extensions, and others.
_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003fffd"
)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    marks = "".join(
        f"{chr(first)}-{chr(last)}"
        for first, last in _runs(
            code
            for code in range(sys.maxunicode + 1)
            if unicodedata.category(chr(code)).startswith("M")
        )
    )
    # A character of such a script with its marks, or a run of letters, digits and marks, with an apostrophe inside.
    letter = rf"(?:(?![{_WITHOUT_SPACES}])[^\W_]|(?![{_WITHOUT_SPACES}])[{marks}])"
    return re.compile(rf"[{_WITHOUT_SPACES}][{marks}]*|{letter}+(?:['\u2019]{letter}+)*")


def _runs(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of rising numbers without a gap."""
    for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0]):
        members = [code for _, code in run]
        yield members[0], members[-1]


@lru_cache(maxsize=1 << 16)
def words_of(text: str) -> Words:
    """The words of a text, in lower case, without what stands between them.

    A word is a run of letters, digits and the marks upon them, an apostrophe inside it included. In scripts that put no
    spaces between words each character is one, with the marks upon it. The text is taken in Unicode's form NFC.
    """
    lower = unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    return tuple(
        match
        for match in _pattern().findall(lower)
        if not unicodedata.category(match[0]).startswith("P")
    )


def ngrams(words: Words, size: int) -> list[Words]:
    """All runs of ``size`` words, in order."""
    return [words[start : start + size] for start in range(len(words) - size + 1)]
