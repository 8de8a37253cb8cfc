"""What the bench of a device makes of a trace."""

import random

import pytest

from bench.gpu.figures import joined, overlap


def test_overlap_is_the_time_of_copies_in_which_a_kernel_runs():
    """Against a count of whole microseconds."""
    chance = random.Random(0)
    for _ in range(50):
        copies, kernels = (
            [(start, start + chance.randrange(1, 9)) for start in chance.sample(range(60), 5)]
            for _ in range(2)
        )
        copies = list(joined(copies))
        copied, busy = (
            {moment for begin, end in spans for moment in range(begin, end)}
            for spans in (copies, kernels)
        )
        found = overlap(copies, kernels)
        assert found["overlapped"] == pytest.approx(len(copied & busy) / len(copied))
        assert found["kernel_milliseconds"] == pytest.approx(len(busy) / 1e3)
    assert overlap([], [(0, 1)])["overlapped"] == 0
