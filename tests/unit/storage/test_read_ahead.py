"""Reading ahead: everything in order, several at a time, never more than was asked for."""

import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.storage import ahead, read_ahead


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2 * ahead.AHEAD_BYTES), max_size=60))
def test_all_comes_in_order_and_no_more_is_begun_than_may_be_held(sizes: list[int]) -> None:
    lock = threading.Lock()
    begun = list[int]()

    def read(number: int) -> int:
        with lock:
            begun.append(number)
        return number

    came = list[int]()
    for number in read_ahead(read, range(len(sizes)), lambda number: sizes[number]):
        with lock:
            held = [sizes[each] for each in begun if each not in came and each != number]
        assert len(held) < ahead.READERS
        assert sum(held) <= ahead.AHEAD_BYTES or len(held) == 1
        came.append(number)
    assert came == list(range(len(sizes)))
    assert Counter(begun) == Counter(came), "each is read once"


def test_several_are_read_at_a_time() -> None:
    together = threading.Barrier(ahead.READERS, timeout=30)

    def read(number: int) -> int:
        together.wait()
        return number

    assert list(read_ahead(read, range(ahead.READERS), lambda _: 1)) == list(range(ahead.READERS))


def test_an_error_is_raised_where_its_item_is_due() -> None:
    def read(number: int) -> int:
        if number == 3:
            raise FileNotFoundError("3")
        return number

    came = list[int]()
    with pytest.raises(FileNotFoundError, match="3"):
        came.extend(read_ahead(read, range(10), lambda _: 1))
    assert came == [0, 1, 2]


def test_who_stops_early_does_not_wait_for_what_was_not_begun() -> None:
    read = list[int]()
    items = read_ahead(lambda number: read.append(number), range(1000), lambda _: 1)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert len(read) <= ahead.READERS + 1
