"""How often work on a part was begun: Ray does again itself what a lost process or node had, without saying so."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.logs import event
from pipeline.shards.planning.plan import Part

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Marks:
    """Marks in the cluster's own key-value store, where a worker's last words are safe; picklable.

    Ray 2.60 numbers the attempts of a task, but an actor of Ray Data works in a thread that has no task, and nobody
    else tells which parts an actor had begun. A mark is some hundred bytes and takes about a millisecond. Where a job
    fails while other tasks of it are at work, what these mark afterwards stays until the cluster ends.
    """

    run: str = field(default_factory=lambda: f"pipeline-begun/{uuid.uuid4().hex}/")

    def begin(self, part: Part, stage: str) -> int:
        """Notes, on the worker, that a stage of a part begins; returns how often it had begun before."""
        from ray.experimental import internal_kv

        before = 0
        while internal_kv._internal_kv_put(
            f"{self.run}{part.id}/{stage}/{before}", b"", overwrite=False
        ):  # True where it is there already
            before += 1
        return before

    def forget(self) -> None:
        """Removes all of them, if the cluster is still there."""
        from ray.exceptions import RayError
        from ray.experimental import internal_kv

        if internal_kv._internal_kv_initialized():  # type: ignore[no-untyped-call]
            with contextlib.suppress(RayError):
                internal_kv._internal_kv_del(self.run, del_by_prefix=True)


def tell_lost(part: Part, stage: str, times: int, on_loss: Callable[[], None]) -> None:
    """Says, on the driver, that a part was begun again so many times."""
    for number in range(1, times + 1):
        event(logger, "part_lost", shard=part.shard, start=part.start, stage=stage, again=number)
        on_loss()
