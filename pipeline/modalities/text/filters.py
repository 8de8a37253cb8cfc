"""Which texts are left out, where a setting asks for that."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from pipeline.errors import SampleError
from pipeline.limits import Number, beyond, rounded_up

if TYPE_CHECKING:
    from pipeline.modalities.text import TextFilterConfig

PHRASE_WORDS = (2, 3, 4)  # as in the rules for the most frequent phrases of Rae et al. 2021
SCRIPT_FRACTION = 0.5  # of the letters that must be of the scripts that are wanted
# A run of letters and digits; of scripts that put no space between words, each character: kana, Han, Thai, Lao, Khmer,
# Myanmar, Tibetan.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_NAMED_OTHERWISE = {"CJK": "Han"}
_WIDTHS = ("FULLWIDTH ", "HALFWIDTH ")


def check_text(text: str, limits: TextFilterConfig, field: str) -> None:
    """Refuses a text that the settings leave out.

    Args:
        text: As it was cleaned.
        limits: The settings.
        field: Its extension.

    Raises:
        SampleError: It is too short, too long, repeats itself or is in other scripts; the reason is one of ``FILTERS``.
    """
    count = len(text)
    if limits.min_characters is not None and count < limits.min_characters:
        what = f"the text has {count} characters"
        raise _left_out(what, "length", "min_characters", limits.min_characters, count, field)
    if limits.max_characters is not None and count > limits.max_characters:
        what = f"the text has {count} characters"
        raise _left_out(what, "length", "max_characters", limits.max_characters, count, field)
    if limits.max_repetition is not None and (fraction := repetition(text)) > limits.max_repetition:
        what, share = f"one phrase makes {fraction:.3f} of the text", rounded_up(fraction)
        raise _left_out(what, "repetition", "max_repetition", limits.max_repetition, share, field)
    if (
        limits.scripts is not None
        and (fraction := script_fraction(text, limits.scripts)) < SCRIPT_FRACTION
    ):
        what, scripts = (
            f"{fraction:.2f} of the letters are of these scripts",
            ", ".join(limits.scripts),
        )
        raise _left_out(what, "script", "scripts", f"[{scripts}]", "longer", field)


def _left_out(
    what: str, reason: str, setting: str, limit: Number, needed: Number, field: str
) -> SampleError:
    setting, reason = f"modalities.text.filter.{setting}", f"filtered_{reason}"
    return beyond(what, setting=setting, limit=limit, needed=needed, reason=reason, field=field)


def repetition(text: str) -> float:
    """Share of the words' characters that lie in the most frequent phrase of 2, 3 or 4 words; the largest of the three.

    A phrase that comes once repeats nothing. Of phrases that are as frequent, the one that covers most counts.

    Source: Rae et al. 2021 (arXiv:2112.11446), A.1.1, the rules for the top n-grams; there each length has a limit of
    its own (0.20, 0.18, 0.16).
    """
    words = _WORD.findall(text.lower())
    characters = sum(map(len, words))
    return max((_covered(words, size) for size in PHRASE_WORDS), default=0) / max(1, characters)


def _covered(words: list[str], size: int) -> int:
    """Characters of the words that lie in the most frequent phrase of ``size`` words."""
    places: dict[tuple[str, ...], list[int]] = {}
    for start in range(len(words) - size + 1):
        places.setdefault(tuple(words[start : start + size]), []).append(start)
    most = max(map(len, places.values()), default=0)
    if most < 2:
        return 0
    return max(
        sum(len(words[at]) for at in {start + step for start in starts for step in range(size)})
        for starts in places.values()
        if len(starts) == most
    )


def script_fraction(text: str, scripts: Iterable[str]) -> float:
    """Share of a text's letters that are of some scripts; 1 where it has no letters."""
    allowed = set(scripts)
    letters = {one: count for one, count in Counter(text).items() if one.isalpha()}
    inside = sum(count for one, count in letters.items() if script(one) in allowed)
    return inside / sum(letters.values()) if letters else 1.0


@cache
def script(letter: str) -> str:
    """A letter's script: ``Latin``, ``Han``, ``Cyrillic``; the first word of its name in Unicode.

    Source: The Unicode Standard, 4.8: names of letters begin with their script; those of Chinese characters with CJK.
    """
    name = unicodedata.name(letter, "")
    for width in _WIDTHS:
        name = name.removeprefix(width)
    first = name.partition(" ")[0]
    return _NAMED_OTHERWISE.get(first, first.title())
