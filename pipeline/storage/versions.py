"""Small files that are replaced only while they are what was read."""

from __future__ import annotations

from hashlib import blake2b

from pipeline.storage.conditional import create_once, read_versioned, replace_version
from pipeline.storage.files import read_local
from pipeline.storage.location import is_local
from pipeline.storage.writing import write_bytes


def read_version(url: str) -> tuple[bytes, str]:
    """A small file, and its version for :func:`replace_if`.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read.
    """
    if not is_local(url):
        return read_versioned(url)
    data = read_local(url)
    return data, blake2b(data).hexdigest()


def replace_if(url: str, data: bytes, version: str | None) -> str | None:
    """Replaces a small file whole, provided that it is still what was read.

    In an object store this is one conditional request. On a local disk it is not one step, and a lock has to keep
    others away.

    Args:
        url: Where.
        data: The new content.
        version: Of :func:`read_version`; None where there was no file.

    Returns:
        The new version, None where another writer was faster.

    Raises:
        SinkError: It cannot be written.
    """
    if not is_local(url):
        if version is not None:
            return replace_version(url, data, version)
        return read_versioned(url)[1] if create_once(url, data) else None
    try:
        current = read_version(url)[1]
    except FileNotFoundError:
        current = None
    if current != version:
        return None
    write_bytes(url, data)
    return blake2b(data).hexdigest()
