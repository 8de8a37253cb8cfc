"""Settings of two trees that differ, a model's and a configuration's, say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

MAX_CHARACTERS = 100  # of a list or a tree that are shown


def differences(
    path: str, left: Mapping[str, object], right: Mapping[str, object]
) -> Iterator[tuple[str, Any, Any]]:
    """Settings that differ, with their values; a kind before the settings that only it has.

    Args:
        path: Of the trees, put before each setting.
        left: One tree.
        right: The other.
    """
    for name in sorted({*left, *right}, key=lambda name: (name != "kind", name)):
        ours, theirs = left.get(name), right.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            yield from differences(f"{path}.{name}", ours, theirs)
        elif ours != theirs:
            yield f"{path}.{name}", ours, theirs


def shown(value: object) -> str:
    """A setting in one line, as a command line takes it."""
    if isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 3]}..."
    return str(value)
