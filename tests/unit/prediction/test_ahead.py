"""Micro-batches that are made ahead of their use."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from pipeline.prediction.ahead import ahead, threaded


def test_items_come_in_order_and_a_few_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    taken = []
    for item in threaded(items(), ready=2):
        taken.append(item)
        time.sleep(0.002)
        assert len(made) <= len(taken) + 4, "no more is made than waits, is held and is used"
    assert taken == list(range(20))


def test_an_error_is_raised_where_the_items_are_used() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second cannot be made")

    found = threaded(items(), ready=2)
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)


def test_a_thread_that_is_not_wanted_ends() -> None:
    found = threaded(iter(range(1000)), ready=1)
    assert next(found) == 0
    found.close()
    assert not any(thread.name == "ahead" for thread in threading.enumerate())


def test_what_makes_them_ends_in_its_own_thread() -> None:
    where: list[threading.Thread] = []

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            where.append(threading.current_thread())

    found = threaded(items(), ready=1)
    assert next(found) == 0
    found.close()
    assert [thread.name for thread in where] == ["ahead"]


def test_no_thread_on_a_cpu() -> None:
    batches = [(2, (torch.zeros(2),)), (1, (torch.ones(2),))]
    before = threading.active_count()
    found = ahead(batches, torch.device("cpu"))
    assert next(found) is batches[0]
    assert threading.active_count() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_copies_on_a_gpu_are_whole() -> None:
    batches = [(4, (torch.full((1000, 1000), float(at)),)) for at in range(20)]
    device = torch.device("cuda")
    sums = [float(inputs[0].sum()) for _, inputs in ahead(iter(batches), device)]
    assert sums == [at * 1e6 for at in range(20)]
