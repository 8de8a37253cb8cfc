"""Where a job does its work: in this process, or on Ray, which is started when there is enough to do for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.config import ClusterConfig
from pipeline.engine.cluster import signals
from pipeline.engine.cluster.address import inside_ray_job
from pipeline.engine.executors.base import Executor
from pipeline.engine.executors.here import HereExecutor
from pipeline.errors import ConfigError

# More parts than these are work for Ray, where executor=auto.
PARTS_HERE = 64
# Headers of so few parts are read before a worker is up, even where Ray is.
FEW_PARTS = 16
# Results of one wave are held until all of them are there: so many, or more where more are worked on at a time.
WAVE, WAVE_A_CPU = 256, 16
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workplace:
    """Has an executor for each piece of work; a context manager, at whose end no process is left.

    Ctrl-C and SIGTERM both leave the block as KeyboardInterrupt.

    Args:
        cluster: The ``cluster`` section of the configuration.
        quiet_seconds: Without a sign of life of this process, after which those of Ray's workers count; 0 for never.
    """

    def __init__(self, cluster: ClusterConfig, quiet_seconds: float = 0.0) -> None:
        self._cluster, self._quiet_seconds = cluster, quiet_seconds
        self._stack = ExitStack()
        self._here: HereExecutor | None = None
        self._on_ray: Executor | None = None

    def __enter__(self) -> Workplace:
        self._stack.enter_context(signals.as_interrupt())
        return self

    def __exit__(self, *error: object) -> bool | None:
        self._here = self._on_ray = None
        return self._stack.__exit__(*error)  # type: ignore[arg-type]

    def executor(self, num_items: int, num_workers: int = 1) -> Executor:
        """Who does a piece of work; starts or joins Ray where that is to do it.

        Args:
            num_items: Parts, or other things of that size, that are left to do.
            num_workers: That train side by side, which Ray alone has.

        Raises:
            ConfigError: The address has a form that jobs cannot use, or one process is to be several workers.
            RunError: No cluster answers there, or it refuses this user.
        """
        if self._on_ray is not None:
            return self._on_ray
        if num_workers > 1:
            self._refuse_workers(num_workers)
            return self._start_ray()
        return self._in_this_process() if self._is_here(num_items) else self._start_ray()

    def each(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        name: str,
        *,
        in_python: bool = False,
    ) -> list[Result]:
        """As ``map``, by an executor where there is more than one thing to do.

        On one machine, threads do as well as Ray what libraries compute: no Ray is started for it.

        Args:
            work: Picklable.
            items: Picklable.
            name: Of the work, for errors.
            in_python: Whether it is Python that takes the time, of which one process runs one thread at a time.
        """
        if len(items) < 2:
            return [work(item) for item in items]
        in_threads = self._on_ray is None and self._is_local and not in_python
        executor = self._in_this_process() if in_threads else self.executor(len(items))
        numbered = executor.each(_Numbered(work), list(enumerate(items)), name)
        return [result for _, result in sorted(numbered, key=lambda pair: pair[0])]

    def in_order(
        self, work: Callable[[Item], Result], items: Sequence[Item], name: str
    ) -> Iterator[Result]:
        """As :meth:`each` for work in Python on many things; no more results are held than of one wave of them.

        Few things are done by threads of this process, whoever does the rest: starting workers takes longer.

        Args:
            work: Picklable.
            items: Picklable.
            name: Of the work, for errors.

        Yields:
            A result for each, in the order of the items.
        """
        are_few = len(items) <= FEW_PARTS
        executor = self._in_this_process() if are_few else self.executor(len(items))
        wave = max(WAVE, WAVE_A_CPU * int(executor.resources.cpus))
        for start in range(0, len(items), wave):
            numbered = list(enumerate(items[start : start + wave]))
            results = list(executor.each(_Numbered(work), numbered, name))
            yield from (result for _, result in sorted(results, key=lambda pair: pair[0]))

    @property
    def _is_local(self) -> bool:
        return self._cluster.address == "local" and not inside_ray_job()

    def _is_here(self, num_items: int) -> bool:
        cluster = self._cluster
        if cluster.executor != "auto":
            return cluster.executor == "here"
        return self._is_local and not cluster.gpus_per_worker and num_items <= PARTS_HERE

    def _refuse_workers(self, num_workers: int) -> None:
        if self._cluster.executor == "here":
            raise ConfigError(
                f"cluster.workers is {num_workers}, and without Ray there is one worker",
                where="cluster.executor=here",
                fix="set cluster.executor=ray, or cluster.workers=1",
            )

    def _in_this_process(self) -> HereExecutor:
        if self._here is None:
            gpus = _num_gpus() if self._cluster.gpus_per_worker else 0
            executor = HereExecutor(self._cluster.num_cpus, gpus)
            self._here = self._stack.enter_context(executor)
        return self._here

    def _start_ray(self) -> Executor:
        from pipeline.engine.cluster.session import connect
        from pipeline.engine.executors.dataset import DatasetExecutor
        from pipeline.engine.executors.on_ray import RayExecutor
        from pipeline.engine.observe.beats import heard

        self._stack.enter_context(connect(self._cluster))
        if self._quiet_seconds:
            self._stack.enter_context(heard(self._quiet_seconds))
        self._on_ray = DatasetExecutor() if self._cluster.executor == "ray_data" else RayExecutor()
        return self._on_ray


@dataclass(frozen=True)
class _Numbered(Generic[Item, Result]):
    """Keeps the number of a thing beside what came of it."""

    work: Callable[[Item], Result]

    def __call__(self, item: tuple[int, Item]) -> tuple[int, Result]:
        return item[0], self.work(item[1])


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()
