"""Texts without what opens doors: passwords, keys, tokens and signatures, in URLs and beside names that say so.

A signed URL is a key: whoever reads it in a log, a report or a table has what it opens. So every location is shown
through :func:`redact`, and so is every error and every line of a log, whatever library it comes from.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

# Of a query, what says where something lies and opens nothing.
_HARMLESS = frozenset(
    {"region", "scheme", "versionid", "version", "download", "format", "endpoint_override"}
)
# scheme://user:password@, where the password may hold slashes; not scheme://host:port/path@revision.
_PASSWORD = re.compile(
    r"(?<=://)[^\s/?#@:'\"]*:(?!\d{1,5}(?:[/?#'\"\s]|$))[^\s@'\"]*@(?:[^\s/?#@'\"]*@)*"
)
# scheme://token@; a container before the account of Azure's storage is no token.
_TOKEN = re.compile(r"(?i)\b(?!abfs|wasb|az:|adl)([a-z][a-z0-9+.-]*://)[^\s/?#@'\"]+@")
_QUERY = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)([?#][^\s'\"<>|]*)")
_PAIR = re.compile(r"([\w.~%-]+)=([^&;#]*)")
_SECRETS = "|".join(
    [
        "signature|sig|credential|passw(?:or)?d|passphrase|secret|token",
        "(?:access|secret|account|api|private|shared|sas)[_-]?key",
        "(?:access|auth|bearer|refresh|security|session|sas|id|hf)[_-]?token",
    ]
)
# name=value, name: value, "name": "value", wherever it stands.
_NAMED = re.compile(
    rf"""(?i)(?<![\w-])(["']?(?:[\w-]*[_-])?(?:aws)?(?:{_SECRETS})(?:[_-]?id)?["']?\s*[=:]\s*["']?)"""
    r"""((?:bearer\s+|basic\s+)?(?!\*\*\*)[^\s"'&,;|<>()\[\]{}]{4,})"""
)
# Without one of these, there is nothing of the kind.
_WORDS = re.compile(
    r"(?i)sig|credential|passw|passphrase|[a-z][_-]?key|secret|token|authorization|bearer"
)
_AUTHORIZATION = re.compile(r"(?i)\b((?:proxy-)?authorization['\"]?\s*[=:]\s*['\"]?)[^'\"\n|]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_SHAPES = re.compile(
    r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,})\b"
)
# Of variables that hold a secret, but not of those that say in which file it is.
_SECRET_VARIABLE = re.compile(
    r"(?i)(secret|token|passw|credential|api_?key|access_?key|account_?key|private_?key|sas)"
)
_PLACE_VARIABLE = re.compile(r"(?i)(file|path|dir|url|uri|mode|expir\w*|type|region)$")
_SHORTEST_SECRET = 8  # a shorter value is a word that may stand anywhere


def redact(text: str) -> str:
    """A text without passwords, keys, tokens and signatures; the same where it has none."""
    secrets = _environment(tuple(_secret_variables()))
    if secrets is not None:
        text = secrets.sub(HIDDEN, text)
    if "://" in text:
        text = _QUERY.sub(_without_values, without_credentials(text))
    if _WORDS.search(text):
        text = _AUTHORIZATION.sub(rf"\g<1>{HIDDEN}", text)
        text = _NAMED.sub(rf"\g<1>{HIDDEN}", text)
        text = _BEARER.sub(rf"\g<1>{HIDDEN}", text)
    return _SHAPES.sub(HIDDEN, text)


def without_credentials(url: str) -> str:
    """A URL without the user and the password before its host; the path stays as it is, whatever it looks like."""
    return _TOKEN.sub(rf"\g<1>{HIDDEN}@", _PASSWORD.sub(f"{HIDDEN}@", url))


def redacted(value: object) -> Any:
    """A tree of mappings, lists and texts, each text without what opens doors."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redacted(name): redacted(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def _without_values(found: re.Match[str]) -> str:
    """A URL whose query keeps its names."""
    address, query = found.groups()
    if _PAIR.match(query, 1):
        return address + _PAIR.sub(_pair, query)
    # On the web all behind the ? is a query; elsewhere it may be a pattern.
    on_the_web = address.lower().startswith("http") and len(query) > 1
    return f"{address}{query[0]}{HIDDEN}" if on_the_web else address + query


def _pair(found: re.Match[str]) -> str:
    name, value = found.groups()
    return found[0] if name.lower() in _HARMLESS and "@" not in value else f"{name}={HIDDEN}"


def _secret_variables() -> list[str]:
    values = [os.environ.get(name, "") for name in os.environ if _holds_a_secret(name)]
    return [
        value for value in values if len(value) >= _SHORTEST_SECRET and not os.path.exists(value)
    ]


@functools.lru_cache(maxsize=1024)
def _holds_a_secret(name: str) -> bool:
    return bool(_SECRET_VARIABLE.search(name) and not _PLACE_VARIABLE.search(name))


@functools.lru_cache(maxsize=8)
def _environment(values: tuple[str, ...]) -> re.Pattern[str] | None:
    """What finds the values of secret variables; None where there are none."""
    ordered = sorted(values, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
