"""What a cell of a table says: its text, its JSON, or the file that it names."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

from pipeline.errors import SampleError, in_words

_WHOLE = re.compile(r"([+-]?\d+)\.0+")
# Characters of a path that are told.
_SHOWN = 200
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_empty(value: object) -> bool:
    """Whether a cell has no value: null, NaN, or an empty text."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def text_of(value: object) -> str:
    """The text of a cell; empty where it has no value.

    Texts are taken as they are, dates as ISO 8601, lists and objects as JSON.

    Raises:
        SampleError: Bytes that are no UTF-8, or bytes inside a list or an object.
    """
    if is_empty(value):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise SampleError("the cell holds bytes that are no text", reason="bad_row") from None
    if isinstance(value, bool | int | float | list | dict | tuple):
        return json_of(value)
    return _plain(value)


def json_of(value: object) -> str:
    """The JSON of a cell that is no text.

    Raises:
        SampleError: It holds bytes.
    """
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise SampleError(
            f"no JSON can say this: {in_words(error)}", reason="bad_metadata"
        ) from None


def _plain(value: object) -> str:
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        raise SampleError("JSON cannot hold bytes", reason="bad_metadata")
    return str(value)


def whole_numbers(values: Iterable[object]) -> bool:
    """Whether a column holds nothing but whole numbers written as ``1.0``: a table tool makes such of whole numbers
    where one is missing.
    """
    some = False
    for value in values:
        if is_empty(value):
            continue
        if isinstance(value, float):
            is_whole = value.is_integer()
        else:
            is_whole = isinstance(value, str) and _WHOLE.fullmatch(value.strip()) is not None
        if not is_whole:
            return False
        some = True
    return some


def whole_number(value: object) -> str:
    """The whole number that such a cell means; empty where it has no value."""
    if is_empty(value):
        return ""
    if isinstance(value, float):
        return str(int(value))
    match = _WHOLE.fullmatch(str(value).strip())
    return match[1] if match else str(value)


def is_media(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a cell is what Hugging Face's datasets write for an image or a sound: bytes, a path, or both."""
    return isinstance(value, dict) and bool(value) and value.keys() <= {"bytes", "path"}


def content_of(value: dict[str, object], field: str) -> bytes | str | None:
    """Bytes of a cell of :func:`is_media`, or the path of its file; None where it has neither.

    Raises:
        SampleError: The bytes are no bytes.
    """
    data, path = value.get("bytes"), value.get("path")
    if isinstance(data, bytes) and data:
        return data
    if data:
        what = "the cell's bytes are text; only Parquet can hold bytes"
        raise SampleError(what, reason="bad_row", field=field)
    if path:
        return str(path)
    # Bytes, and none of them: something was to be there.
    return None if data is None else b""


def file_of(text: str, folder: Path, field: str, *, allow_outside: bool) -> Path:
    """The file that a cell names.

    Args:
        text: Its path; one with backslashes may be meant.
        folder: That paths count from.
        field: The field that it is of.
        allow_outside: Whether it may lie outside that folder, also behind links.

    Raises:
        SampleError: There is no such file, or it lies outside.
    """
    path = _path(text, folder)
    if path is None:
        raise SampleError(_absent(text, folder), reason="missing_file", field=field)
    if not allow_outside and not is_inside(path, folder):
        raise SampleError(
            f"the file {text[:_SHOWN]!r} lies outside {folder.name or folder}",
            reason="outside_source",
            field=field,
            setting="pack.allow_outside",
        )
    return path


def names_file(value: object, folder: Path) -> bool:
    """Whether a cell is the path of a file."""
    return isinstance(value, str) and 0 < len(value) < 1024 and _path(value, folder) is not None


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder once all links are followed."""
    real = os.path.realpath(path)
    return Path(real).is_relative_to(os.path.realpath(folder))


def _path(text: str, folder: Path) -> Path | None:
    for name in (text, text.strip(), text.replace("\\", "/")):
        try:
            if (folder / name).is_file():
                return folder / name
        except (OSError, ValueError):
            return None
    return None


def _absent(text: str, folder: Path) -> str:
    if _ADDRESS.match(text):
        return f"{text[:_SHOWN]!r} is an address, and nothing is downloaded"
    if text.startswith("data:"):
        return (
            "the cell holds the content itself as text (a data: address), where a path was expected"
        )
    try:
        problem = "is a folder" if (folder / text).is_dir() else "does not exist"
    except OSError as error:
        problem = f"cannot be looked up: {error.strerror}"
    except ValueError:
        problem = "is not a path"
    return f"the file {text[:_SHOWN]!r} {problem}"
