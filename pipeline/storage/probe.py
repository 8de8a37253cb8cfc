"""Asks an object store, before a job writes there, whether it holds to the conditions of a write.

Stores that say they speak S3 may ignore ``If-None-Match`` and ``If-Match`` and answer 200: two jobs would both hold
the lease, and a part would be committed twice. Others answer 501.
"""

from __future__ import annotations

import contextlib
import uuid

from pipeline.errors import ConfigError, PipelineError
from pipeline.storage.conditional import Unsupported, create_once, read_versioned, replace_version
from pipeline.storage.location import join
from pipeline.storage.writing import remove


def check_conditions(folder: str) -> None:
    """Writes a small object under conditions that do not hold, and expects to be refused; it is removed again.

    Raises:
        ConfigError: The store does not refuse, or has no such conditions.
        SinkError: It cannot be written to.
    """
    url = join(folder, f"_commit/_probe-{uuid.uuid4().hex[:12]}")
    try:
        fault = _fault(url)
    except Unsupported as error:
        fault = f"writes under a condition: it answered {error}"
    finally:
        with contextlib.suppress(PipelineError):  # what went wrong before is the one to tell
            remove(url)
    if fault:
        raise ConfigError(
            f"the store cannot keep two writers apart, since it does not support {fault}",
            where=folder,
            fix="choose a store that holds to If-None-Match and If-Match, or a local folder",
        )


def _fault(url: str) -> str:
    """What the store does not do; empty where it does all that is needed."""
    if not create_once(url, b"1"):
        return "If-None-Match: it refused to make a new object"
    if create_once(url, b"2"):
        return "If-None-Match: it replaced an object that was there"
    content, version = read_versioned(url)
    if content != b"1" or replace_version(url, b"3", version) is None:
        return "If-Match: it refused to replace an object as it was read"
    if replace_version(url, b"4", version) is not None:
        return "If-Match: it replaced an object that had changed since it was read"
    return ""
