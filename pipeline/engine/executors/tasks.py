"""Work on parts in plain Ray tasks: for jobs whose parts end on the worker that decoded them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray

from pipeline import pulse
from pipeline.engine.observe.beats import tell_driver

RETRIES = 3  # of a task whose worker dies
TASKS_AHEAD = 2  # a core: one at work, one that its worker goes on to without asking the driver
# One driver hands out about a thousand tasks a second, and a part takes a quarter of one.
WORKERS_A_DRIVER = 256
P = TypeVar("P")
T = TypeVar("T")


def work_through(
    parts: Sequence[P],
    work: Callable[[P], T],
    num_cpus: int,
    cpus_each: float = 1,
    at_once: int | None = None,
) -> Iterator[T]:
    """Does ``work`` on every part, on all CPUs, and yields what comes back, in the order in which it is done.

    Ray Data would carry each block to a next stage; here there is none, and its executor's pause after every task
    (0.1 to 0.2 s, about as long as a part takes) and its two helper processes would be pure loss.

    Args:
        parts: What is to be done, parts or whatever else is small and picklable.
        work: Part -> a small result; it is put into the object store once, not into every task.
        num_cpus: Of the cluster.
        cpus_each: That one part takes; a node must have as many.
        at_once: Parts at work at a time, at most; None does as many as there are CPUs for.

    Raises:
        ray.exceptions.RayError: A task failed, or its worker died ``RETRIES`` times more.
    """
    shared = ray.put(work)
    task: Any = ray.remote(_work_on).options(num_cpus=cpus_each, max_retries=RETRIES)
    workers = max(1, int(num_cpus / cpus_each))
    waiting = group_parts(parts, workers)
    # Where CPUs would be left over, what waits would be begun.
    in_flight = at_once if at_once and at_once < workers else TASKS_AHEAD * workers
    running = {task.remote(shared, group) for group in itertools.islice(waiting, in_flight)}
    while running:
        done, _ = ray.wait(list(running), num_returns=1)
        running.difference_update(done)
        running |= {task.remote(shared, group) for group in itertools.islice(waiting, len(done))}
        for results in ray.get(done):
            pulse.beat()
            yield from results


def group_parts(parts: Sequence[P], workers: int) -> Iterator[Sequence[P]]:
    """The parts of one task each: one, or several where one driver could not hand them out fast enough singly."""
    size = max(1, min(1 + workers // WORKERS_A_DRIVER, len(parts) // (4 * workers)))
    for start in range(0, len(parts), size):
        yield parts[start : start + size]


def _work_on(work: Callable[[P], T], parts: Sequence[P]) -> list[T]:
    tell_driver()
    results = []
    for part in parts:
        results.append(work(part))
        pulse.beat()
    return results
