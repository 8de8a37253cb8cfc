"""JSON of a sample, as RFC 8259 has it, and no more than a reader can bear."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

DEPTH = 64  # levels of arrays and objects, unless told otherwise
_MOST_DIGITS = 4300  # of a whole number that Python turns into one; more take their time
# A string, to its end or that of the text, or a bracket. Neither goes back over what it has matched.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
# An escape in a string: two halves of a character, half of one (which is told), or another.
_SURROGATE = r"u[dD][89a-fA-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(" + _SURROGATE + ")|.)",
    re.DOTALL,
)
_MAY_BE_HALF = re.compile(r"\\" + _SURROGATE)


class TooDeep(ValueError):
    """JSON with more levels in each other than are allowed."""


def read_json(text: str, depth: int = DEPTH) -> Any:
    """Reads JSON.

    Whole numbers of more digits than anyone computes with are given as text. Names may come twice in an object; the
    last counts.

    Args:
        text: The JSON.
        depth: Levels of arrays and objects in each other that are allowed.

    Raises:
        TooDeep: Nested more deeply.
        ValueError: Not JSON, or with half of a character (a lone surrogate) as an escape.

    Source: RFC 8259, sections 2 to 9.
    """
    if text.count("[") + text.count("{") > depth:
        _check_depth(text, depth)
    if _MAY_BE_HALF.search(text) and any(escape[1] for escape in _ESCAPE.finditer(text)):
        raise ValueError("half of a character (a lone surrogate)")
    return _DECODER.decode(text)


def _check_depth(text: str, depth: int) -> None:
    level = 0
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        if sign in "[{":
            level += 1
            if level > depth:
                raise TooDeep(f"nested more than {depth} levels deep")
        elif sign != '"':
            level -= 1


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_whole_number)
