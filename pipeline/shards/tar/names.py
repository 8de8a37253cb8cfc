"""What may be a key and a field of a sample: names that every tar reader gives back unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.errors import SampleError

_META = re.compile(r"__[^/]*__")  # webdataset readers skip such names
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")


def check_key(key: str) -> None:
    """Checks that a key is read back from a tar as it was written.

    Raises:
        SampleError: It is not; the message says why.
    """
    parts = key.split("/")
    if not key or "" in parts:
        problem = "is empty, absolute, or has an empty part"
    elif "." in parts or ".." in parts:
        problem = "has a part . or .."
    elif "." in parts[-1]:
        problem = "has a dot in its last part, where the extension would begin"
    elif _UNSAFE.search(key):
        problem = "has a control character or a backslash"
    elif _META.match(parts[0]):
        problem = "begins with a __name__, which WebDataset readers skip"
    elif any(0xD800 <= ord(letter) <= 0xDFFF for letter in key):
        problem = "is not valid Unicode"
    else:
        return
    raise SampleError(
        f"the key {problem}", reason="bad_key", where=f"key={key!r}", fix="rename the sample"
    )


def check_extensions(fields: Iterable[str]) -> None:
    """Checks that a sample has fields, and that each extension is read back as it was written.

    Raises:
        SampleError: It has none, or one is not; the message names it.
    """
    extensions = list(fields)
    if not extensions:
        raise SampleError("the sample has no field", reason="no_modality")
    for extension in extensions:
        if not is_extension(extension):
            raise SampleError(
                f"{extension!r} cannot be a field's extension",
                reason="no_extension",
                field=extension,
                fix="use lower-case letters and digits, such as jpg or seg.png",
            )


def is_extension(text: str) -> bool:
    """Says whether a text can name a field: lower case, no empty part, no leading underscore."""
    return (
        all(text.split("."))
        and not text.startswith("_")
        and text == text.lower()
        and text.isprintable()
        and not set(text) & set("/\\ ")
    )
