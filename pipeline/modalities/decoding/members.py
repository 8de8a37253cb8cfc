"""Fields that are read as they are, labels and metadata: strict text, strict JSON, or a fault of the sample."""

from __future__ import annotations

from typing import Any

from pipeline.errors import SampleError, in_words
from pipeline.limits import JSON_DEPTH
from pipeline.modalities.strict_json import TooDeep, read_json
from pipeline.modalities.text.codec import read_text

# What would let a sample through whose field is bad, by the reason.
_SETTINGS = {"bad_metadata": "input.metadata"}


def field_text(data: memoryview, name: str, reason: str) -> str:
    """The text of a field.

    Args:
        data: The field.
        name: Its extension.
        reason: Why the sample is left out where it is no text.

    Raises:
        SampleError: It is none.
    """
    try:
        return read_text(data, name)
    except SampleError as error:
        setting = _SETTINGS.get(reason, "")
        raise SampleError(error.what, reason=reason, field=name, setting=setting) from None


def field_json(data: memoryview, name: str, reason: str, depth: int) -> Any:
    """The JSON of a field of at most ``depth`` levels; see :func:`field_text`."""
    return check_json(field_text(data, name, reason), name, reason, depth)


def check_json(text: str, name: str, reason: str, depth: int) -> Any:
    """The JSON of a text of at most ``depth`` levels; see :func:`field_text`."""
    try:
        return read_json(text, depth)
    except TooDeep as error:
        what, setting = f"not JSON: {error}", JSON_DEPTH
    except (ValueError, RecursionError) as error:
        what, setting = f"not JSON: {in_words(error)}"[:200], _SETTINGS.get(reason, "")
    raise SampleError(what, reason=reason, field=name, setting=setting)
