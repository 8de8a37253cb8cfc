"""The work of parts on Ray: one task a part, or task, actor with the model, task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.engine.cluster.failures import plain_errors
from pipeline.engine.cluster.session import num_cpus, resource
from pipeline.engine.executors.base import Stage, Written, handed_over
from pipeline.engine.executors.tasks import work_through
from pipeline.engine.infer.pool import Share, Stages, through_stages
from pipeline.engine.infer.predictors import PredictorPool, Resources, predictor_here
from pipeline.engine.observe.begun import Marks, tell_lost
from pipeline.shards.planning.plan import Part

Item = TypeVar("Item")
Result = TypeVar("Result")


class RayExecutor:
    """Does the work of parts on the Ray of this process; see :class:`pipeline.engine.executors.base.Executor`."""

    @property
    def resources(self) -> Resources:
        """Of the whole cluster, as it is now."""
        return Resources(num_cpus(), resource("memory"), resource("GPU"))

    def run(
        self,
        parts: Sequence[Part],
        stage: Stage[Written],
        on_loss: Callable[[], None] = lambda: None,
    ) -> Iterator[Written]:
        """See :class:`pipeline.engine.executors.base.Executor`.

        Parts that end on the worker that decoded them are plain tasks, which Ray does again itself without saying so:
        workers mark what they begin, and ``on_loss`` is called once the part has come back.
        """
        pool, loader = stage.pool, stage.loader
        with plain_errors(stage.name):
            if pool is None or loader is None:
                yield from self._whole_ways(parts, stage, on_loss)
            elif pool.whole_parts and stage.load is None:
                yield from self._whole_ways(parts, stage, on_loss, pool.num_cpus, pool.num_actors)
            else:
                # A table that is handed over goes to this process from where it is.
                write = None if stage.write is handed_over else stage.write
                stages = Stages(stage.decode, loader, write)
                yield from through_stages(parts, stages, share_of(pool), on_loss)

    def _whole_ways(
        self,
        parts: Sequence[Part],
        stage: Stage[Written],
        on_loss: Callable[[], None],
        cpus_each: float = 1,
        at_once: int | None = None,
    ) -> Iterator[Written]:
        marks = Marks.opened()
        work = _Marked(WholeWay(stage), marks)
        try:
            for part, times, result in work_through(parts, work, num_cpus(), cpus_each, at_once):
                tell_lost(part, stage.name, times, on_loss)
                yield result
        finally:
            marks.forget()

    def each(
        self, work: Callable[[Item], Result], items: Sequence[Item], name: str
    ) -> Iterator[Result]:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        with plain_errors(name):
            yield from work_through(items, work, num_cpus())

    def describe(self, pool: PredictorPool | None) -> str:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        if pool is None:
            return f"each is decoded and written by one task, on {num_cpus()} CPUs"
        share = share_of(pool)
        size = f"{share.actor_gpus:g} GPUs" if share.actor_gpus else f"{pool.num_cpus:g} CPUs"
        if pool.whole_parts:
            return (
                "each is decoded, predicted and written by one task, "
                f"{pool.num_actors} at a time of {size} each"
            )
        return (
            f"each is decoded by a task of {share.decode_cpus:g} CPUs, predicted by one of "
            f"{pool.num_actors} actors of {size} each, and written by a task; "
            f"at most {share.parts_at_once} at a time"
        )


def share_of(pool: PredictorPool) -> Share:
    """What the actors of a pool and the tasks beside them take of the cluster."""
    # Ray does not schedule well by both.
    cpus_each = 0 if pool.num_gpus else pool.num_cpus
    return Share(pool.num_actors, cpus_each, pool.num_gpus, num_cpus())


@dataclass(frozen=True)
class WholeWay(Generic[Written]):
    """The way of a part through one process."""

    stage: Stage[Written]

    def __call__(self, part: Part) -> Written:
        table, pool = self.stage.decode(part), self.stage.pool
        return self.stage.write(table if pool is None else predictor_here(pool.spec)(table))


@dataclass(frozen=True)
class _Marked(Generic[Written]):
    """A part -> the part, how often it was begun before, and what became of it."""

    work: Callable[[Part], Written]
    marks: Marks

    def __call__(self, part: Part) -> tuple[Part, int, Written]:
        return part, self.marks.begin(part, "decode"), self.work(part)
