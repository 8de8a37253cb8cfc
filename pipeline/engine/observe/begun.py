"""How often work on a part was begun: Ray does again itself what a lost process or node had, without saying so."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.logs import event
from pipeline.shards.planning.plan import Part

logger = logging.getLogger(__name__)

MARKS, OPEN = "pipeline-begun/", "open"


@dataclass(frozen=True)
class Marks:
    """Marks of one run over parts, in the cluster's own key-value store; picklable.

    There a worker's last words are safe. Ray 2.60 numbers the attempts of a task, but an actor of Ray Data works in a
    thread that has no task, and nobody else tells which parts an actor had begun. A mark is some hundred bytes and
    takes about two milliseconds. A run is open until its marks are forgotten: work that goes on behind the failure of
    another takes its mark away again. What a driver that was killed left is swept by the next one of the cluster.

    Attributes:
        run: What the keys of this run begin with: those of its Ray job, and of no other run.
    """

    run: str

    @classmethod
    def opened(cls) -> Marks:
        """Those of a new run, on the driver."""
        import ray
        from ray.experimental import internal_kv

        job = ray.get_runtime_context().get_job_id()
        _sweep(job)
        run = f"{MARKS}{job}/{uuid.uuid4().hex}/"
        internal_kv._internal_kv_put(run + OPEN, b"")
        return cls(run)

    def begin(self, part: Part, stage: str) -> int:
        """Notes, on the worker, that a stage of a part begins; returns how often it had begun before."""
        from ray.experimental import internal_kv

        before = 0
        while internal_kv._internal_kv_put(
            f"{self.run}{part.id}/{stage}/{before}", b"", overwrite=False
        ):  # True where it is there already
            before += 1
        # Looked at behind the mark: what is put before the run is closed goes with it, and what is put later goes here.
        if not internal_kv._internal_kv_exists(self.run + OPEN):
            internal_kv._internal_kv_del(f"{self.run}{part.id}/{stage}/{before}")
        return before

    def forget(self) -> None:
        """Closes the run and removes all of them, if the cluster is still there."""
        _remove(self.run)


def _sweep(own_job: str) -> None:
    """Removes what jobs of this cluster that are no longer alive have left."""
    from ray._private import state
    from ray.experimental import internal_kv

    keys: list[bytes] = internal_kv._internal_kv_list(MARKS)
    jobs = {key.decode().removeprefix(MARKS).partition("/")[0] for key in keys} - {own_job}
    if jobs:
        table = state.jobs()  # type: ignore[no-untyped-call]
        for job in jobs - {entry["JobID"] for entry in table if not entry["IsDead"]}:
            _remove(f"{MARKS}{job}/")


def _remove(prefix: str) -> None:
    from ray.exceptions import RayError
    from ray.experimental import internal_kv

    if internal_kv._internal_kv_initialized():  # type: ignore[no-untyped-call]
        with contextlib.suppress(RayError):
            internal_kv._internal_kv_del(prefix, del_by_prefix=True)


def tell_lost(part: Part, stage: str, times: int, on_loss: Callable[[], None]) -> None:
    """Says, on the driver, that a part was begun again so many times."""
    for number in range(1, times + 1):
        event(logger, "part_lost", shard=part.shard, start=part.start, stage=stage, again=number)
        on_loss()
