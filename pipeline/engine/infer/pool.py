"""Parts through three stages on Ray: tasks decode, actors that hold a model predict, tasks write.

What is lost with a process or a node is done again from the start of its part: commits are made once, so that a stage
that was only thought to be lost does no harm. Ray Data's pool of actors is not used for it: it hands its actors their
arguments through the object store and restarts them there, ends at an actor that is for a moment not to be reached, and
may wait ten minutes for a block that went with its node.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import ray
from ray.exceptions import RayError

from pipeline import pulse
from pipeline.engine.cluster.failures import is_loss
from pipeline.engine.cluster.nodes import NodeWatch
from pipeline.engine.executors.tasks import RETRIES, TASKS_AHEAD
from pipeline.engine.infer.actors import ACTOR_AHEAD, Actor, Actors, is_lost
from pipeline.engine.infer.predictors import Predict
from pipeline.engine.observe.beats import tell_driver
from pipeline.logs import event
from pipeline.shards.planning.plan import Part

LOOK_SECONDS = 5.0  # without anything done, after which the nodes are looked at
DECODE, PREDICT, WRITE, LOAD = "decode", "predict", "write", "load"
T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stages(Generic[T]):
    """What is done with a part; all of it travels to workers.

    Attributes:
        decode: Part -> its samples.
        load: Makes, once an actor, what turns samples into predictions.
        write: Takes the predictions where they are and returns something small; None hands them to the driver.
    """

    decode: Callable[[Part], pa.Table]
    load: Callable[[], Predict]
    write: Callable[[pa.Table], T] | None = None


@dataclass(frozen=True)
class Share:
    """What the stages take of a cluster.

    Attributes:
        num_actors: That predict.
        actor_cpus: Of each.
        actor_gpus: Of each.
        cpus: Of the whole cluster.
    """

    num_actors: int
    actor_cpus: float
    actor_gpus: float
    cpus: int

    @property
    def decode_cpus(self) -> float:
        """What a decoding task is counted as: as many run as there are cores, beside the actors."""
        free = max(self.cpus - self.num_actors * self.actor_cpus, self.cpus / 2)
        return int(1000 * free / self.cpus) / 1000

    @property
    def parts_at_once(self) -> int:
        """Parts between their first stage and their last, which memory has to hold."""
        return TASKS_AHEAD * self.cpus + ACTOR_AHEAD * self.num_actors


def through_stages(
    parts: Sequence[Part],
    stages: Stages[T],
    share: Share,
    on_loss: Callable[[], None] = lambda: None,
    watch: NodeWatch | None = None,
) -> Iterator[T | pa.Table]:
    """Takes parts through the stages, and yields what comes out, in the order in which it is done.

    Args:
        parts: What is to be done.
        stages: What is done with each.
        share: What that may take.
        on_loss: Called for every part that is done again.
        watch: Looks whether nodes were lost; None makes one.

    Raises:
        ray.exceptions.RayError: A stage failed, or a part or an actor was lost ``RETRIES`` times more.
        RunError: The driver's own node was lost.
    """
    watch = watch or NodeWatch(ray.get_runtime_context().get_node_id())
    run = _Run(parts, stages, share, on_loss, watch)
    try:
        yield from run.results()
    finally:
        run.actors.end()


@dataclass(eq=False)
class _Attempt:
    """A part on its way, since when, and how often it was lost."""

    part: Part
    losses: int = 0
    began: float = 0.0


@dataclass(frozen=True)
class _Step:
    """A stage at work: of which part, what it will return, and which actor does it."""

    stage: str
    attempt: _Attempt | None = None
    value: Any = None
    actor: Actor | None = None


class _Run(Generic[T]):
    """Where each part is."""

    def __init__(
        self,
        parts: Sequence[Part],
        stages: Stages[T],
        share: Share,
        on_loss: Callable[[], None],
        watch: NodeWatch,
    ) -> None:
        self._share, self._on_loss, self._watch = share, on_loss, watch
        self._writes = stages.write is not None
        self._waiting = deque(_Attempt(part) for part in parts)
        self._on_the_way: set[_Attempt] = set()
        self._decoded: deque[tuple[_Attempt, Any]] = deque()
        self._predicted: deque[tuple[_Attempt, Any]] = deque()
        self._steps: dict[Any, _Step] = {}
        self._writing = 0
        number = min(share.num_actors, len(parts))
        self.actors = Actors(stages.load, number, share.actor_cpus, share.actor_gpus)
        for _ in range(number):
            self._loading(self.actors.start())
        self._decode_work, self._write_work = ray.put(stages.decode), ray.put(stages.write)
        # Ray's own retries would do a stage again whose input went with the same node.
        task: Any = ray.remote(_decode)
        self._decode = task.options(
            num_cpus=share.decode_cpus, num_returns=2, max_retries=0, scheduling_strategy="SPREAD"
        )
        task = ray.remote(_write)
        # Not counted as CPUs, or a write would wait until a decoder ends; `_submit` bounds their number.
        self._write = task.options(num_cpus=0, num_returns=2, max_retries=0)

    def results(self) -> Iterator[T | pa.Table]:
        """Goes on until every part has gone through."""
        while self._waiting or self._on_the_way:
            self._submit()
            for flag in self._done():
                step = self._steps.pop(flag, None)
                if step is None:  # given up a moment ago
                    continue
                try:
                    result = self._advance(flag, step)
                except RayError as error:
                    self._lose(step, error)
                    continue
                if result is not None:
                    yield result

    def _submit(self) -> None:
        """Begins what there is room for, the last stage first."""
        while self._predicted and self._writing < self._share.cpus:
            attempt, table = self._predicted.popleft()
            self._writing += 1
            self._begin(WRITE, self._write.remote(self._write_work, table), attempt)
        while self._decoded and (actor := self.actors.free()):
            attempt, table = self._decoded.popleft()
            self._begin(PREDICT, actor.predict(table), attempt, actor)
        while self._waiting and len(self._on_the_way) < self._share.parts_at_once:
            attempt = self._waiting.popleft()
            attempt.began = time.monotonic()
            self._on_the_way.add(attempt)
            self._begin(DECODE, self._decode.remote(self._decode_work, attempt.part), attempt)

    def _begin(
        self, stage: str, refs: Sequence[object], attempt: _Attempt, actor: Actor | None = None
    ) -> None:
        flag, value = refs
        self._steps[flag] = _Step(stage, attempt, value, actor)

    def _loading(self, actor: Actor) -> None:
        self._steps[actor.loading] = _Step(LOAD, actor=actor)

    def _done(self) -> Sequence[Any]:
        """Waits until something is done; the flags of all that is."""
        flags = list(self._steps)
        ready, _ = ray.wait(flags, num_returns=1, timeout=LOOK_SECONDS)
        if not ready:
            self.actors.say_if_none()
            self._give_up_on_lost_nodes()
            return []
        self._watch.progress()
        every, _ = ray.wait(flags, num_returns=len(flags), timeout=0)
        return every

    def _advance(self, flag: Any, step: _Step) -> T | pa.Table | None:
        """Takes a part to its next stage; what came out of it, if that was its last one."""
        self._stop_counting(step)
        ray.get(flag)
        pulse.beat()
        attempt = step.attempt
        if attempt is None:
            assert step.actor is not None
            self.actors.loaded(step.actor)
        elif step.stage == DECODE:
            self._decoded.append((attempt, step.value))
        elif step.stage == PREDICT and self._writes:
            self._predicted.append((attempt, step.value))
        else:
            result: T | pa.Table = ray.get(step.value)
            self._on_the_way.remove(attempt)
            return result
        return None

    def _stop_counting(self, step: _Step) -> None:
        self._writing -= step.stage == WRITE
        if step.actor is not None and step.stage == PREDICT:
            step.actor.parts -= 1

    def _lose(self, step: _Step, error: RayError) -> None:
        """Does again what was lost; anything else that went wrong is raised."""
        if not is_loss(error):
            raise error
        if (
            step.actor is not None
            and is_lost(error)
            and (actor := self.actors.replace(step.actor, error))
        ):
            self._loading(actor)
        if step.attempt is not None:
            self._again(step.attempt, step.stage, error)

    def _again(self, attempt: _Attempt, stage: str, error: RayError) -> None:
        """Puts a part back before its first stage."""
        if attempt.losses >= RETRIES:
            raise error
        attempt.losses += 1
        part, number = attempt.part, attempt.losses
        event(logger, "part_lost", shard=part.shard, start=part.start, stage=stage, again=number)
        self._on_the_way.remove(attempt)
        self._waiting.appendleft(attempt)
        self._on_loss()

    def _give_up_on_lost_nodes(self) -> None:
        """Does again what a lost node keeps from getting on: Ray may wait ten minutes for what lay there."""
        lost = self._watch.stalled_since()
        for flag, step in list(self._steps.items()):
            if step.attempt is not None and step.attempt.began < lost:
                del self._steps[flag]
                self._stop_counting(step)
                ray.cancel(flag, force=step.actor is None)
                self._again(step.attempt, step.stage, _StalledError("a lost node has it"))


class _StalledError(RayError):
    """A stage does not get on since a node was lost."""


def _decode(work: Callable[[Part], pa.Table], part: Part) -> tuple[bool, pa.Table]:
    tell_driver()
    return True, work(part)


def _write(work: Callable[[pa.Table], T], table: pa.Table) -> tuple[bool, T]:
    tell_driver()
    return True, work(table)
