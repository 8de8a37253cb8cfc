"""Ray's actors that run the frozen networks of a training once over its samples, as many as there may be workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import pyarrow as pa
import ray
import torch

from pipeline import pulse
from pipeline.engine.cluster.session import resource
from pipeline.engine.observe.beats import tell_driver
from pipeline.engine.train.worker import Job, frozen_features
from pipeline.sections import ClusterConfig
from pipeline.training.features import FrozenFeatures

Table = Any  # ray.ObjectRef[pa.Table]
Done = Any  # ray.ObjectRef[None]
RESTARTS = 2  # of an actor that was lost, and of the call that it was lost in
LOOK_SECONDS = 5.0  # between two looks at what is waited for
# Tables for each actor that may wait, as they were decoded, in the object store.
AHEAD = 4


class _Embedder:
    """Puts embeddings in place of values; see :class:`pipeline.training.features.FrozenFeatures`."""

    def __init__(self) -> None:
        self._features: FrozenFeatures | None = None

    def embed(self, job: Mapping[str, Any], table: pa.Table, split: str) -> tuple[None, pa.Table]:
        """Says that it is done, and gives the table, which nobody then need fetch to know.

        Networks are built at the first call: Ray builds an actor that was lost anew, and calls it again.
        """
        tell_driver()
        if self._features is None:
            self._features = _features(Job.from_dict(job))
        return None, self._features(table, split)


def _features(job: Job) -> FrozenFeatures:
    cluster = job.config.cluster
    device = torch.device("cuda" if cluster.gpus_per_worker else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // cluster.most_workers))
    features = frozen_features(job, device)
    assert features is not None, "there is something to embed"
    return features


@contextmanager
def embedders(job: Job | None) -> Iterator[Callable[[Table, str], Table]]:
    """Gives what begins to embed a table in the object store; at the end, all of them are done.

    Args:
        job: The training; None leaves tables as they are.
    """
    if job is None:
        yield lambda table, split: table
        return
    cluster = job.config.cluster
    # Without a CPU of their own they never keep the decoding that they wait for from its own.
    make: Any = ray.remote(_Embedder).options(
        num_cpus=0,
        num_gpus=cluster.gpus_per_worker,
        max_restarts=RESTARTS,
        max_task_retries=RESTARTS,
        scheduling_strategy="SPREAD",
    )
    told = ray.put(job.to_dict())
    actors = [make.remote() for _ in range(_num_actors(cluster))]
    turn, begun = cycle(actors), list[Done]()

    def embed(table: Table, split: str) -> Table:
        _wait(begun, AHEAD * len(actors) - 1)
        done, embedded = next(turn).embed.options(num_returns=2).remote(told, table, split)
        begun.append(done)
        return embedded

    try:
        yield embed
        _wait(begun, 0)
    finally:
        for actor in actors:
            ray.kill(actor)


def _num_actors(cluster: ClusterConfig) -> int:
    """As many as there may be workers, less those that there are no GPUs for: tables would wait for them."""
    if not cluster.gpus_per_worker:
        return cluster.most_workers
    room = int(resource("GPU") / cluster.gpus_per_worker)
    return max(cluster.least_workers, min(cluster.most_workers, room))


def _wait(begun: list[Done], most: int) -> None:
    """Waits until at most so many are not done; raises what one of them has raised."""
    while len(begun) > most:
        finished, rest = ray.wait(begun, timeout=LOOK_SECONDS)
        for done in finished:
            ray.get(done)
            pulse.beat()
        begun[:] = rest
