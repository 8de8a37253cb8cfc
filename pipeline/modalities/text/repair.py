"""Repairs texts: mis-decoded characters, control characters, normalisation. The time is linear in a text's length."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# ASCII in which ftfy finds nothing to repair: no control characters, and no & that could begin an HTML entity.
_CLEAN = re.compile(r"[\t\n -%'-~]*")
MAX_MARKS = 30  # combining marks in a row
_JOINER = "\u034f"  # COMBINING GRAPHEME JOINER, which is no mark of that kind and shows nothing
# Entities of & in a row: each level of them would take one more pass over the text.
MAX_LEVELS = 8
_LEVELS = re.compile(
    rf"((?:(?:amp|#0*38|#x0*26|#0*65286|#x0*ff06);){{{MAX_LEVELS}}})"
    r"(?:(?:amp|#0*38|#x0*26|#0*65286|#x0*ff06);)+",
    re.IGNORECASE,
)
_MAX_ROUNDS = 4  # until nothing changes any more


def clean(text: str) -> str:
    """Repairs mis-decoded characters, drops control characters, normalises to NFC and strips the ends.

    Runs of more than ``MAX_MARKS`` combining marks are broken by a joiner, as the Stream-Safe Text Format has it:
    normalising sorts each run, in the square of its length.

    Source: Unicode Standard Annex #15, section 13, UAX15-D4.
    """
    if _CLEAN.fullmatch(text):
        return text.strip()
    text = _stream_safe(_LEVELS.sub(r"\1", text))
    for _ in range(_MAX_ROUNDS):
        repaired = normalized(_repaired(text))
        if repaired == text:
            break
        text = repaired
    return text.strip()


def normalized(text: str) -> str:
    """A text in the form NFC, its runs of combining marks broken as :func:`clean` breaks them."""
    return text if text.isascii() else unicodedata.normalize("NFC", _stream_safe(text))


def _repaired(text: str) -> str:
    """What ftfy makes of a text, but for the normalisation, which it does without a bound."""
    import ftfy
    from ftfy.badness import is_bad

    config = ftfy.TextFixerConfig(normalization=None, uncurl_quotes=False, explain=False)
    if "&" not in text and not is_bad(text):
        # Nothing was mis-decoded, so lines need not be looked at one by one, which would take most of the time.
        repaired = str(ftfy.fix_and_explain(text, config).text)
        if not is_bad(repaired):
            return repaired
    return str(ftfy.fix_text(text, config))


def _stream_safe(text: str) -> str:
    return _long_runs().sub(lambda run: run[0] + _JOINER, text)


@cache
def _long_runs() -> re.Pattern[str]:
    """``MAX_MARKS`` combining marks that another one follows."""
    marks = [code for code in range(0x300, 0x1F000) if _begins_with_mark(chr(code))]
    ranges: list[list[int]] = []
    for code in marks:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    mark = "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges) + "]"
    return re.compile(f"{mark}{{{MAX_MARKS}}}(?={mark})")


def _begins_with_mark(character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) != 0
