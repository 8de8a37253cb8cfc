"""Text of unknown origin, made fit for a terminal or a log.

A key, a label or a file's name may hold what a terminal takes for commands (ECMA-48 control sequences begin with ESC or
a C1 control), or marks that turn the order of letters around (Unicode TR36, section 3.2).
"""

from __future__ import annotations

import re

# C0 and C1 controls, DEL, marks of direction, line and paragraph separators, and halves of surrogate pairs.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_KEPT = "\n\t"


def printable(text: str) -> str:
    """The text in one line, with what a terminal would obey as escapes: ``\\x1b`` for ESC."""
    return _UNFIT.sub(_escape, text)


def printable_lines(text: str) -> str:
    """As :func:`printable`, for text of several lines: their ends and tabs stay."""
    return _UNFIT.sub(lambda m: m[0] if m[0] in _KEPT else _escape(m), text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "backslashreplace").decode()
