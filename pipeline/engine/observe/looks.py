"""Something that is done again and again beside a block, as a look at what a training leaves in its run folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def looking(look: Callable[[], None]) -> Iterator[None]:
    """Looks once a second, in a thread, while the block runs, and once more behind it, whatever has ended it.

    Args:
        look: Called without anything, never twice at a time.
    """
    stop = threading.Event()

    def follow() -> None:
        ended = False
        while not ended:
            ended = stop.wait(SECONDS_BETWEEN_LOOKS)
            look()

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()
