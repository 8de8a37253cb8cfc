"""The work of parts in this process: threads drive as many decoding processes as there are cores, and share one model.

A thread takes a part through all of its stages: it waits for its rows, which a decoding process leaves in memory that
both share, has the model predict them, and writes them. Hence there are never more parts in flight than threads.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from pipeline import pulse
from pipeline.engine.cluster import signals
from pipeline.engine.decoding.isolated import decoding_processes
from pipeline.engine.executors.base import Stage
from pipeline.engine.infer.predictors import Predict, PredictorPool, Resources
from pipeline.errors import RunError
from pipeline.isolation import Interrupted
from pipeline.shards.planning.plan import Part

PATIENCE_SECONDS = 20.0  # with what is in flight when the work is given up
LOOK_SECONDS = 0.2
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
        self._crew = _Crew()

    def __enter__(self) -> HereExecutor:
        self._guards = self._stack.enter_context(decoding_processes(self.resources.cpus))
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

        ahead = [] if model is None else [model.load]
        extra = 0 if model is None else model.copies
        yield from self._through(parts, work, self.resources.cpus + extra, ahead)

    def each(
        self, work: Callable[[Item], Result], items: Sequence[Item], name: str
    ) -> Iterator[Result]:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        yield from self._through(items, work, self.resources.cpus)

    def describe(self, pool: PredictorPool | None) -> str:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        predicted = "" if pool is None else f"predicted by {self._copies(pool)} at a time, "
        return (
            f"each is decoded by one of {self.resources.cpus} processes beside this one, "
            f"{predicted}and written by this process, without Ray"
        )

    def _copies(self, pool: PredictorPool) -> int:
        """Parts that the model predicts at a time: it is in one process, and on one GPU."""
        return 1 if pool.num_gpus else pool.num_actors

    def _through(
        self,
        items: Sequence[Item],
        work: Callable[[Item], Result],
        num_threads: int,
        ahead: Sequence[Callable[[], object]] = (),
    ) -> Iterator[Result]:
        """Does some work with each item in threads.

        Args:
            items: What is to be done.
            work: Done by one thread.
            num_threads: At work at a time.
            ahead: What else they do, first of all.
        """
        num_threads = min(num_threads, len(items))
        if not items:
            return
        shift = _Shift(items, work, num_threads)
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
                if not shift.is_over:
                    shift.stop()
                    self._guards.interrupt()
                    self._crew.wait(PATIENCE_SECONDS)


class _Model:
    """A model that threads share, loaded by the first of them."""

    def __init__(self, load: Callable[[], Predict], copies: int) -> None:
        self._load, self.copies = load, copies
        self._loading = threading.Lock()
        self._turns = threading.Semaphore(copies)
        self._predict: Predict | None = None

    def load(self) -> Predict:
        with self._loading:
            if self._predict is None:
                self._predict = self._load()
                pulse.beat()
            return self._predict

    def __call__(self, table: Any) -> Any:
        predict = self.load()
        with self._turns:
            return predict(table)


@dataclass(frozen=True)
class _Outcome(Generic[Result]):
    """What became of an item: a result, or an error."""

    result: Result | None = None
    error: BaseException | None = None


class _Shift(Generic[Item, Result]):
    """Some items on their way through threads."""

    def __init__(
        self, items: Sequence[Item], work: Callable[[Item], Result], num_threads: int
    ) -> None:
        self._items, self._work = iter(items), work
        self._left = len(items)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        # A result may be a table: those that nobody has asked for yet are in flight too.
        self._outcomes: queue.Queue[_Outcome[Result]] = queue.Queue(num_threads)

    @property
    def is_over(self) -> bool:
        """Whether all items have come back."""
        return self._left == 0

    def results(self) -> Iterator[Result]:
        """The results, as they come.

        Raises:
            Exception: What the work raised first.
        """
        while self._left:
            outcome = self._outcomes.get()
            if outcome.error is not None:
                raise outcome.error
            self._left -= 1
            pulse.beat()
            result: Any = outcome.result
            del outcome
            yield result

    def stop(self) -> None:
        """No item is begun any more, and no result is handed over."""
        self._stopped.set()

    def work_through(self) -> None:
        """What a thread does: item after item."""
        while (item := self._next()) is not None:
            self._hand_over(self._outcome(item))

    def follow(self, task: Callable[[], object]) -> None:
        """Does something on the way; its error is an error of the whole."""
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - raised where the results are asked for
            self._hand_over(_Outcome(error=error))

    def _next(self) -> Item | None:
        with self._taking:
            return None if self._stopped.is_set() else next(self._items, None)

    def _outcome(self, item: Item) -> _Outcome[Result]:
        try:
            return _Outcome(self._work(item))
        except Interrupted:
            return _Outcome(error=RunError("the work was given up", where="this process"))
        except BaseException as error:  # noqa: BLE001 - raised where the results are asked for
            return _Outcome(error=error)

    def _hand_over(self, outcome: _Outcome[Result]) -> None:
        while not self._stopped.is_set():
            try:
                return self._outcomes.put(outcome, timeout=LOOK_SECONDS)
            except queue.Full:
                continue


class _Crew:
    """Threads that live until they are dismissed: decoding processes end with the threads that started them."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._busy = 0

    def grow(self, number: int) -> None:
        """Sees that there are so many."""
        while len(self._threads) < number:
            name = f"part-{len(self._threads)}"
            # One that hangs, in a dead file system for example, must not keep the process from ending.
            self._threads.append(threading.Thread(target=self._live, name=name, daemon=True))
            self._threads[-1].start()

    def do(self, task: Callable[[], None]) -> None:
        """Has a task done by one of them; it must not raise."""
        with self._changed:
            self._busy += 1
        self._tasks.put(task)

    def wait(self, seconds: float) -> None:
        """Waits until nothing is at work."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, seconds)

    def dismiss(self) -> None:
        """Ends them."""
        for _ in self._threads:
            self._tasks.put(None)
        end = time.monotonic() + PATIENCE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _live(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()


def usable_cpus() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
