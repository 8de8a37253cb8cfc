"""Threads that take parts through their stages in this process, and the parts that are on their way through them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline import pulse
from pipeline.errors import RunError
from pipeline.isolation import Interrupted

PATIENCE_SECONDS = 20.0  # with what is in flight when the work is given up
LOOK_SECONDS = 0.2
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Outcome(Generic[Result]):
    """What became of an item: a result, or an error."""

    place: int
    result: Result | None = None
    error: BaseException | None = None


class Shift(Generic[Item, Result]):
    """Some items on their way through threads.

    Args:
        items: What is to be done; begun in this order.
        work: What a thread does with one of them.
        in_flight: Items that are begun before the results of earlier ones were asked for, at most.
        in_order: Whether results come out in the order of the items, rather than in that in which they are done.
    """

    def __init__(
        self,
        items: Sequence[Item],
        work: Callable[[Item], Result],
        in_flight: int,
        *,
        in_order: bool = False,
    ) -> None:
        self._items, self._work, self._in_order = enumerate(items), work, in_order
        self._total, self._handed_over = len(items), 0
        self._taking = threading.Lock()
        self._room = threading.Semaphore(in_flight)
        self._stopped = threading.Event()
        self._outcomes: queue.SimpleQueue[_Outcome[Result]] = queue.SimpleQueue()

    @property
    def is_over(self) -> bool:
        """Whether all results were handed over."""
        return self._handed_over == self._total

    def results(self) -> Iterator[Result]:
        """The results.

        Raises:
            Exception: What the work raised first.
        """
        early = dict[int, Any]()
        while not self.is_over:
            outcome = self._outcomes.get()
            if outcome.error is not None:
                raise outcome.error
            place = outcome.place if self._in_order else self._handed_over
            early[place] = outcome.result
            del outcome
            while self._handed_over in early:
                pulse.beat()
                # Counted before it is handed over: the one who takes the last need not come back.
                self._handed_over += 1
                yield early.pop(self._handed_over - 1)
                self._room.release()

    def stop(self) -> None:
        """No item is begun any more."""
        self._stopped.set()

    def work_through(self) -> None:
        """What a thread does: item after item."""
        while (numbered := self._next()) is not None:
            self._outcomes.put(self._outcome(*numbered))
            del numbered

    def follow(self, task: Callable[[], object]) -> None:
        """Does something on the way; its error is an error of the whole."""
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - raised where the results are asked for
            self._outcomes.put(_Outcome(-1, error=error))

    def _next(self) -> tuple[int, Item] | None:
        # In turn, so that the item which everything waits for never waits for room itself.
        with self._taking:
            while not self._room.acquire(timeout=LOOK_SECONDS):
                if self._stopped.is_set():
                    return None
            numbered = None if self._stopped.is_set() else next(self._items, None)
            if numbered is None:
                self._room.release()  # for the threads that come here to find the same
            return numbered

    def _outcome(self, place: int, item: Item) -> _Outcome[Result]:
        try:
            return _Outcome(place, self._work(item))
        except Interrupted:
            return _Outcome(place, error=RunError("the work was given up", where="this process"))
        except BaseException as error:  # noqa: BLE001 - raised where the results are asked for
            return _Outcome(place, error=error)


class Crew:
    """Threads that live until they are dismissed: decoding processes end with the threads that started them.

    Args:
        prepare: What each of them does first; must not raise.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
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
        self._prepare()
        while (task := self._tasks.get()) is not None:
            task()
            del task
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()
