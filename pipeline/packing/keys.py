"""Names of samples as a shard can hold them: what would be read back otherwise is percent-encoded."""

from __future__ import annotations

import re
from urllib.parse import unquote

from pipeline.errors import SampleError
from pipeline.shards.tar.strays import stray_kind

# A percent sign that unescaping would take for an escape.
_PERCENT = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
# A slash that makes an empty folder name: in front, at the end, or behind another.
_EMPTY = re.compile(r"^/|/$|(?<=/)/")
# What readers of shards take for their own.
_META = re.compile(r"__[^/]*__")


def escape_key(name: str) -> str:
    """Makes a key of any name, each name another one; :func:`unescape_key` gives the name back.

    A key in a shard ends at the first dot of its last part, and slashes make folders. So dots of the last part, slashes
    that would make a folder without a name, control characters, backslashes, and names that readers pass over are
    percent-encoded, as is a percent sign before two hexadecimal digits. All other names stay as they are.

    Raises:
        SampleError: The name is empty, or no valid Unicode.

    Source: RFC 3986, section 2.1.
    """
    if not name:
        raise SampleError("the key is empty", reason="bad_key", fix="name the sample")
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in name):
        raise SampleError("the key is not valid Unicode", reason="bad_key", fix="rename the sample")
    key = _PERCENT.sub("%25", name)
    key = _UNSAFE.sub(_encode, key)
    key = _EMPTY.sub("%2F", key)
    *folders, last = key.split("/")
    parts = [*map(_folder, folders), last.replace(".", "%2E")]
    if _META.match(parts[0]):
        parts[0] = f"%5F{parts[0][1:]}"
    return "/".join(parts)


def unescape_key(key: str) -> str:
    """The name that :func:`escape_key` made a key of."""
    return unquote(key)


def _folder(name: str) -> str:
    """A folder's name that leads nowhere else, and that readers do not pass over."""
    if name in (".", ".."):
        return name.replace(".", "%2E")
    if stray_kind(f"{name}/a.a") is not None:
        return f"%{ord(name[0]):02X}{name[1:]}"
    return name


def _encode(found: re.Match[str]) -> str:
    return "".join(f"%{ord(letter):02X}" for letter in found[0])
