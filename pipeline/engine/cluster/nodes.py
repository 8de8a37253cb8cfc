"""The nodes of a cluster, watched for those that are lost under a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import ray

from pipeline.errors import RunError
from pipeline.logs import event

STALL_SECONDS = (
    15.0  # without anything done after a node was lost, after which what is at work counts as lost
)
NEVER = float("-inf")

logger = logging.getLogger(__name__)


class NodeWatch:
    """Notices that nodes are gone, where nothing gets done.

    Args:
        here: The driver's own node.
        living: Asks for the nodes that are there; None asks Ray.
        clock: Seconds.
    """

    def __init__(
        self,
        here: str,
        living: Callable[[], set[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._here, self._living, self._clock = here, living or _living_nodes, clock
        self._alive = self._living()
        self._lost = NEVER
        self._progress = clock()

    def progress(self) -> None:
        """Notes that something was done."""
        self._progress = self._clock()

    def stalled_since(self) -> float:
        """When a node was lost, if nothing was done for a while since then; else a time before all times.

        Raises:
            RunError: The driver's own node is gone.
        """
        alive = self._living()
        if self._here not in alive:
            raise RunError(
                "the Ray node that this job runs on was lost",
                where="cluster",
                fix="run the job again to go on from what is committed",
            )
        if gone := self._alive - alive:
            event(logger, "node_lost", lost=len(gone), left=len(alive))
            self._lost = self._clock()
        self._alive = alive
        quiet = self._clock() - max(self._lost, self._progress)
        return self._lost if quiet >= STALL_SECONDS else NEVER


def _living_nodes() -> set[str]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"] for node in nodes if node["Alive"]}
