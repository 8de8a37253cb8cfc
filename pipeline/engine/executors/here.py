"""The work of parts in this process: threads drive as many decoding processes as there are cores, and share one model.

A thread takes a part through all of its stages: it waits for its rows, which a decoding process leaves in memory that
both share, has the model predict them, and writes them. Hence there are never more parts in flight than threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

import pyarrow as pa

from pipeline import pulse
from pipeline.engine.cluster import signals
from pipeline.engine.decoding.isolated import decode_by, decoding_processes
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.executors.base import Stage
from pipeline.engine.executors.crew import PATIENCE_SECONDS, Crew, Shift
from pipeline.engine.infer.predictors import Predict, PredictorPool, Resources
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part

PARTS_A_PROCESS = 2  # at least, for another decoding process beside a network
Item = TypeVar("Item")
Result = TypeVar("Result")
Written = TypeVar("Written")


class HereExecutor:
    """Does the work of parts in this process; see :class:`pipeline.engine.executors.base.Executor`.

    A context manager: at its end its threads and the decoding processes are gone.

    Args:
        num_cpus: Cores to use; all that this process may use where None.
        num_gpus: Of this machine, for the model.
    """

    def __init__(self, num_cpus: int | None = None, num_gpus: float = 0.0) -> None:
        cpus = num_cpus or usable_cpus()
        self.resources = Resources(cpus, memory_bytes(), num_gpus)
        self._stack = ExitStack()

    def __enter__(self) -> HereExecutor:
        self._guards = self._stack.enter_context(decoding_processes(self.resources.cpus))
        self._crew = Crew(partial(decode_by, self._guards))
        self._stack.callback(self._crew.dismiss)
        return self

    def __exit__(self, *error: object) -> None:
        with signals.ignored():  # it ends in bounded time
            self._stack.close()

    def run(
        self,
        parts: Sequence[Part],
        stage: Stage[Written],
        on_loss: Callable[[], None] = lambda: None,
    ) -> Iterator[Written]:
        """See :class:`pipeline.engine.executors.base.Executor`; nothing is ever lost here."""
        load, pool = stage.loader, stage.pool
        model = None if load is None or pool is None else _Model(load, self._copies(pool))

        def work(part: Part) -> Written:
            table = stage.decode(part)
            return stage.write(table if model is None else model(table))

        cpus = self.resources.cpus
        # To start one takes about as long as a part; while a network is imported and loaded, one core is taken.
        self._guards.limit = (
            cpus if model is None else max(1, min(cpus, len(parts) // PARTS_A_PROCESS))
        )
        ahead = [] if model is None else [model.load]
        extra = 0 if model is None else model.copies
        num_threads = min(cpus + extra, len(parts))
        yield from self._through(Shift(parts, work, 2 * num_threads), num_threads, ahead)

    def each(
        self, work: Callable[[Item], Result], items: Sequence[Item], name: str
    ) -> Iterator[Result]:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        self._guards.limit = self.resources.cpus
        num_threads = min(self.resources.cpus, len(items))
        yield from self._through(Shift(items, work, 2 * num_threads), num_threads)

    def in_order(
        self, parts: Sequence[Part], decoder: Decoder, ahead: int | None = None
    ) -> Generator[pa.Table, None, None]:
        """Decoded parts for a consumer in this process, in their order, decoded on all cores.

        The large columns lie in memory that is shared with the decoding processes; as long as a table is there, so is
        its memory. A table has a row for every sample, good or bad.

        Args:
            parts: Which.
            decoder: How.
            ahead: Parts that are begun or done before they are asked for, at most; twice the cores where None.
        """
        self._guards.limit = self.resources.cpus
        num_threads = min(self.resources.cpus, len(parts))
        work = partial(decode_part, decoder=decoder)
        # One more: the part that the consumer has.
        in_flight = 1 + (ahead or 2 * self.resources.cpus)
        yield from self._through(Shift(parts, work, in_flight, in_order=True), num_threads)

    def describe(self, pool: PredictorPool | None) -> str:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        predicted = "" if pool is None else f"predicted by {self._copies(pool)} at a time, "
        return (
            f"each is decoded by one of {self.resources.cpus} processes beside this one, "
            f"{predicted}and written by this process, without Ray"
        )

    def _copies(self, pool: PredictorPool) -> int:
        """Parts that the model predicts at a time; one on a GPU, and where it is compiled at its first call."""
        return 1 if pool.num_gpus or pool.spec.compile else pool.num_actors

    def _through(
        self,
        shift: Shift[Item, Result],
        num_threads: int,
        ahead: Sequence[Callable[[], object]] = (),
    ) -> Iterator[Result]:
        """Has threads work through a shift, after what else they do first of all."""
        self._crew.grow(num_threads + len(ahead))
        try:
            for task in ahead:
                self._crew.do(partial(shift.follow, task))
            for _ in range(num_threads):
                self._crew.do(shift.work_through)
            yield from shift.results()
        finally:
            # A second Ctrl-C must not leave threads behind; it ends in bounded time.
            with signals.ignored():
                shift.stop()
                if not shift.is_over:
                    self._guards.interrupt()
                    self._crew.wait(PATIENCE_SECONDS)


class _Model:
    """A model that threads share, loaded by the first of them."""

    def __init__(self, load: Callable[[], Predict], copies: int) -> None:
        self._load, self.copies = load, copies
        self._alone = threading.Lock()
        self._turns = threading.Semaphore(copies)
        self._predict: Predict | None = None
        self._used = False

    def load(self) -> Predict:
        with self._alone:
            if self._predict is None:
                self._predict = self._load()
                pulse.beat()
            return self._predict

    def __call__(self, table: pa.Table) -> pa.Table:
        predict = self.load()
        with self._turns:
            with self._alone:
                if (
                    not self._used
                ):  # what a first call sets, in tokenizers for example, others only read
                    self._used = True
                    return predict(table)
            return predict(table)


def usable_cpus() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
