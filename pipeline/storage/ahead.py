"""Reading of the next files while the present one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

READERS = 16  # requests to a store wait rather than work
AHEAD_BYTES = 64 << 20
T = TypeVar("T")
R = TypeVar("R")


def read_ahead(read: Callable[[T], R], items: Iterable[T], size: Callable[[T], int]) -> Iterator[R]:
    """What ``read`` makes of each item, in order, the next ones begun while the present one is used.

    Args:
        read: Is called by threads, several at a time.
        items: What is read.
        size: Item -> bytes; at most ``READERS`` items, and of these ``AHEAD_BYTES`` or one, are begun at a time.

    Raises:
        Exception: What ``read`` raised, at the item that it raised it for.
    """
    begun = deque[tuple[Future[R], int]]()
    held = 0
    with ThreadPoolExecutor(READERS, thread_name_prefix="read-ahead") as pool:
        try:
            for item in items:
                num_bytes = size(item)
                while begun and (len(begun) == READERS or held + num_bytes > AHEAD_BYTES):
                    held -= begun[0][1]
                    yield begun.popleft()[0].result()
                begun.append((pool.submit(read, item), num_bytes))
                held += num_bytes
            while begun:
                yield begun.popleft()[0].result()
        finally:
            for future, _ in begun:
                future.cancel()
