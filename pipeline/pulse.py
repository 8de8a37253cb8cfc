"""Signs of life: whatever moves beats, and the watchdog of a night looks when it last did.

A beat is for what has been done: bytes that came or went, a sample begun, a part signed, a file merged. Waiting, trying
again and renewing a lease are none: a job in which nothing else happens hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_last = time.monotonic()
_forward: Callable[[], None] | None = None


def beat() -> None:
    """Something has moved."""
    global _last
    _last = time.monotonic()
    if _forward is not None:
        _forward()


def last_beat() -> float:
    """When something last moved in this process, or in one that forwards to it, on :func:`time.monotonic`'s clock."""
    return _last


def forward(listener: Callable[[], None]) -> None:
    """Has the beats of this process told to another, by ``listener``, which must be quick."""
    global _forward
    _forward = listener
