"""The actors that hold a model: started, loaded, given parts, and replaced where they are lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from pipeline import pulse
from pipeline.engine.executors.tasks import RETRIES
from pipeline.engine.infer.predictors import Predict
from pipeline.engine.observe.beats import tell_driver
from pipeline.logs import event
from pipeline.safe_text.redaction import redact

ACTOR_AHEAD = 2  # parts of an actor: one at work, one that it goes on to without asking the driver
SECONDS_BETWEEN_WORDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Actor:
    """A process that holds the model.

    Attributes:
        handle: Of Ray.
        loading: Is there when the model is.
        loaded: Whether it is.
        parts: That it has been given and not returned.
    """

    handle: Any
    loading: Any
    loaded: bool = False
    parts: int = 0

    def predict(self, table: object) -> Any:
        """Gives it a part; references to a flag and to the predictions."""
        self.parts += 1
        return self.handle.predict.options(num_returns=2).remote(table)


class Actors:
    """As many actors as asked for.

    Args:
        load: Makes, in each of them, what turns samples into predictions.
        number: How many.
        cpus: That each is counted as.
        gpus: Of each.
    """

    def __init__(self, load: Callable[[], Predict], number: int, cpus: float, gpus: float) -> None:
        self._load, self._number = load, number
        self._cpus, self._gpus = cpus, gpus
        self._lost_while_loading = 0
        self._said = time.monotonic()
        actor: Any = ray.remote(_Predictor)
        self._class = actor.options(
            num_cpus=cpus,
            num_gpus=gpus or None,
            # Ray would restart an actor on the same terms, and have its arguments wait for it in the object store.
            max_restarts=0,
            max_task_retries=0,
            allow_out_of_order_execution=True,
            scheduling_strategy="SPREAD",
        )
        self.all: list[Actor] = []

    def start(self) -> Actor:
        """Starts one."""
        handle = self._class.remote()
        # Not in the constructor: what goes wrong there is told as the death of the actor.
        actor = Actor(handle, handle.load.remote(self._load))
        self.all.append(actor)
        return actor

    def loaded(self, actor: Actor) -> None:
        """Notes that an actor is ready for parts."""
        actor.loaded = True
        self._lost_while_loading = 0

    def free(self) -> Actor | None:
        """The one with the least to do, of those that have room for one more part."""
        free = [actor for actor in self.all if actor.loaded and actor.parts < ACTOR_AHEAD]
        return min(free, key=lambda actor: actor.parts, default=None)

    def say_if_none(self) -> None:
        """Logs, once a minute, that there is no actor yet: a cluster may have no room for one."""
        if time.monotonic() - self._said < SECONDS_BETWEEN_WORDS:
            return
        if not any(actor.loaded for actor in self.all):
            event(logger, "no_actor_yet", cpus=self._cpus, gpus=self._gpus)
        self._said = time.monotonic()

    def replace(self, actor: Actor, error: RayError) -> Actor | None:
        """Starts another in the place of one that was lost; None where that was done already.

        Raises:
            RayError: ``error``, where one after the other is lost while it loads.
        """
        if actor not in self.all:
            return None
        if not actor.loaded:
            self._lost_while_loading += 1
            if self._lost_while_loading > RETRIES + self._number:
                raise error
        event(logger, "actor_lost", loaded=actor.loaded, reason=first_line(error))
        self.all.remove(actor)
        ray.kill(actor.handle)  # one that cannot be reached may be alive
        return self.start()

    def end(self) -> None:
        """Ends them all."""
        for actor in self.all:
            ray.kill(actor.handle)


class _Predictor:
    """The process of an actor."""

    def load(self, make: Callable[[], Predict]) -> None:
        tell_driver()
        self._predict = make()
        pulse.beat()

    def predict(self, table: pa.Table) -> tuple[bool, pa.Table]:
        # The flag is small, and says whether there are predictions without their being fetched.
        return True, self._predict(table)


def is_lost(error: RayError) -> bool:
    """Whether an error says that the actor is gone, or cannot be reached, so that another has to take its place."""
    # Of one that Ray ended where memory ran short, no call says anything else any more.
    gone = isinstance(error, RayActorError | OutOfMemoryError)
    # An actor that could not be given its block is not lost itself.
    return gone and not isinstance(error, RayTaskError)


def first_line(error: Exception) -> str:
    """What an error says first."""
    return redact((str(error).strip() or type(error).__name__).splitlines()[0])[:200]
