"""Listings that one job asks for more than once: made once, so that what was checked is what is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
_listings: ContextVar[dict[tuple[str, ...], Any] | None] = ContextVar("listings", default=None)


@contextlib.contextmanager
def listings_remembered() -> Iterator[None]:
    """Within the block, the same patterns are listed once. Not for what waits for new files."""
    token = _listings.set({})
    try:
        yield
    finally:
        _listings.reset(token)


def remembered(patterns: tuple[str, ...], expand: Callable[[], list[T]]) -> list[T]:
    """The listing of some patterns, made now unless it is remembered."""
    listings = _listings.get()
    if listings is None:
        return expand()
    if patterns not in listings:
        listings[patterns] = expand()
    return list(listings[patterns])
