"""Training with Ray Train: parts are decoded by Ray's tasks, and each worker asks for those of its lanes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.train
from ray.exceptions import RayActorError
from ray.train.torch import TorchConfig, get_device
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig

from pipeline import pulse, storage
from pipeline.engine.cluster.auth import environment
from pipeline.engine.cluster.failures import plain_errors
from pipeline.engine.cluster.session import num_cpus
from pipeline.engine.decoding.cache import CachedDecoder, is_cached
from pipeline.engine.executors.tasks import RETRIES, TASKS_AHEAD
from pipeline.engine.observe.beats import tell_driver
from pipeline.engine.train.decoding import GoodRows
from pipeline.engine.train.elastic.changes import (
    NO_CONTROLLER,
    Change,
    ChangesLog,
    counted,
    read_changes,
    told,
    write_changes,
)
from pipeline.engine.train.elastic.notices import Notices
from pipeline.engine.train.elastic.trainer import WorkersTrainer, own_error
from pipeline.engine.train.embedders import embedders
from pipeline.engine.train.worker import Job, Splits, train_share
from pipeline.errors import PipelineError, RunError
from pipeline.models.record import CHECKPOINTS
from pipeline.safe_text.redaction import redact
from pipeline.shards.planning.plan import Part
from pipeline.training.callbacks.base import Callback
from pipeline.training.feed import Source
from pipeline.training.loop import Training
from pipeline.training.parts import PartRows
from pipeline.training.ranks import LocalRanks, TorchRanks

# Of a worker without a GPU, so that decoding has something left to run on; a power of two, because Ray Train divides by
# it without regard to rounding.
TRAINER_CPUS = 0.5
DECODE_CPUS = 0.45  # of a part that is decoded while workers train: two fit on a core beside them
TIMEOUT = "RAY_TRAIN_COLLECTIVE_TIMEOUT_S"  # of the workers' reports; none unless set


class RayTrainer:
    """Decodes in Ray's tasks and trains with Ray Train; see :class:`pipeline.engine.train.trainer.Trainer`."""

    def __init__(self) -> None:
        self._source: _Tables | None = None

    def decode(
        self,
        splits: Mapping[str, Sequence[Part]],
        rows: GoodRows,
        *,
        keep: bool,
        embedding: Job | None = None,
    ) -> dict[str, list[PartRows]]:
        """Decodes all parts; what is kept stays in the object store, which spills to disk what does not fit."""
        shared = ray.put(rows)
        tables: dict[str, ray.ObjectRef[pa.Table]] = {}
        described: dict[str, PartRows] = {}
        waiting = deque((split, part) for split, parts in splits.items() for part in parts)
        task: Any = ray.remote(_describe).options(num_returns=2, num_cpus=1, max_retries=RETRIES)
        running: dict[ray.ObjectRef[PartRows], Part] = {}
        with plain_errors("train"), embedders(embedding) as embed:
            while waiting or running:
                while waiting and len(running) < TASKS_AHEAD * num_cpus():
                    split, part = waiting.popleft()
                    description, table = task.remote(shared, part, keep)
                    running[description] = part
                    if keep:
                        tables[part.id] = embed(table, split)
                [done], _ = ray.wait(list(running), num_returns=1)
                described[running.pop(done).id] = ray.get(done)
                pulse.beat()
        self._source = _Tables(rows, shared, tables)
        return {split: [described[part.id] for part in parts] for split, parts in splits.items()}

    @property
    def tables(self) -> Source:
        """Where the tables come from that :meth:`decode` has seen; may travel to workers."""
        return self._tables

    @property
    def _tables(self) -> _Tables:
        assert self._source is not None, "decode() comes first"
        return self._source

    def fit(self, job: Job, splits: Mapping[str, Sequence[PartRows]]) -> dict[str, float]:
        """Runs the workers: in this process where one worker on this machine's CPUs is asked for.

        Workers, nodes and the controller that are lost are replaced, a limited number of times.

        Raises:
            PipelineError: What a worker has raised.
            RunError: Training failed otherwise, or too much of it was lost.
        """
        run, cluster, most = job.config.run, job.config.cluster, job.config.cluster.max_restarts
        # Not in the workers' settings, which Ray Train would copy: references to tables are counted.
        work = partial(_worker, job.to_dict(), [ray.put(dict(splits))], self._tables)
        with told(run), environment({TIMEOUT: str(cluster.wait_seconds)}):
            for lost in range(most + 1):
                trainer = _trainer(job, work, read_changes(run))
                try:
                    with plain_errors("train"):
                        trainer.fit()
                    break
                except RunError as error:
                    # Whoever starts workers again was lost; what happens to workers comes as another error.
                    if not isinstance(error.__cause__, RayActorError) or lost == most:
                        raise
                    trainer.forget()
                    write_changes(run, [*read_changes(run), Change(0, NO_CONTROLLER)])
                except ray.train.TrainingFailedError as error:
                    raise _in_our_words(error, run) from error
        return counted(read_changes(run))


@dataclass(frozen=True)
class _Tables:
    """The tables of parts, for whichever worker asks for them; travels to the workers.

    Attributes:
        rows: How they are decoded.
        shared: The same, in the object store.
        tables: Part -> its table in the object store, where tables stay in memory.
        workers: That share the cluster's CPUs for it.
    """

    rows: GoodRows
    shared: ray.ObjectRef[GoodRows]
    tables: Mapping[str, ray.ObjectRef[pa.Table]] = field(default_factory=dict)
    workers: int = 1

    def __call__(self, parts: Sequence[Part]) -> Iterator[pa.Table]:
        """The tables of parts, in their order; what has to be decoded is begun a few parts ahead."""
        ahead = max(1, TASKS_AHEAD * num_cpus() // self.workers)
        waiting: deque[tuple[Part, ray.ObjectRef[pa.Table] | None]] = deque()
        for part in parts:
            waiting.append((part, self._begin(part)))
            if len(waiting) > ahead:
                yield self._table(*waiting.popleft())
        while waiting:
            yield self._table(*waiting.popleft())

    def _begin(self, part: Part) -> ray.ObjectRef[pa.Table] | None:
        """Where a part's table will be; None where it lies on this node's disk."""
        if part.id in self.tables:
            return self.tables[part.id]
        decoder = self.rows.decoder
        if isinstance(decoder, CachedDecoder) and is_cached(decoder.cache, part):
            return None
        task: Any = ray.remote(_table).options(num_cpus=DECODE_CPUS, max_retries=RETRIES)
        table: ray.ObjectRef[pa.Table] = task.remote(self.shared, part)
        return table

    def _table(self, part: Part, begun: ray.ObjectRef[pa.Table] | None) -> pa.Table:
        pulse.beat()
        return self.rows.table(part) if begun is None else ray.get(begun)


class _Report(Callback):
    """Tells Ray Train of each epoch; every worker does."""

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        ray.train.report(row)


def _worker(
    job: Mapping[str, object],
    splits: Sequence[ray.ObjectRef[Mapping[str, Sequence[PartRows]]]],
    tables: _Tables,
) -> None:
    """What Ray Train runs on every worker."""
    workers = ray.train.get_context().get_world_size()
    train_share(
        Job.from_dict(job),
        Splits(ray.get(splits[0]), replace(tables, workers=workers)),
        TorchRanks() if workers > 1 else LocalRanks(),
        get_device(),
        [Notices(), _Report()],
    )


def _trainer(job: Job, work: Callable[[], None], before: Sequence[Change]) -> WorkersTrainer:
    """Ray Train as the configuration wants it.

    Args:
        job: What is trained.
        work: What every worker runs.
        before: What has happened to workers of this training.
    """
    cluster = job.config.cluster
    use_gpu = cluster.gpus_per_worker > 0
    in_process = cluster.address == "local" and cluster.most_workers == 1 and not use_gpu
    resources = {"GPU": cluster.gpus_per_worker} if use_gpu else {"CPU": TRAINER_CPUS}
    callbacks: list[Any] = [ChangesLog(job.config.run, before)]
    return WorkersTrainer(
        work,
        wait_seconds=cluster.wait_seconds,
        torch_config=TorchConfig(timeout_s=cluster.wait_seconds),
        scaling_config=ScalingConfig(
            num_workers=0 if in_process else cluster.workers,
            use_gpu=use_gpu,
            resources_per_worker=None if in_process else resources,
            # Workers on CPUs share them with the decoding of their node, and with each other.
            placement_strategy="PACK" if use_gpu else "SPREAD",
            elastic_resize_monitor_interval_s=cluster.resize_seconds,
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=_absolute(storage.join(job.config.run, CHECKPOINTS)),
            # Ray Train's own limits are none, but for that of failures, which is 0.
            failure_config=FailureConfig(
                max_failures=cluster.max_restarts,
                controller_failure_limit=cluster.max_restarts,
                max_preemption_failures=cluster.max_restarts,
            ),
            callbacks=callbacks,
        ),
    )


def _in_our_words(error: ray.train.TrainingFailedError, run: str) -> PipelineError:
    original = own_error(error)
    if original is not None:
        return original
    cause = str(error.__cause__ or error).strip().splitlines()[-1]
    return RunError(
        f"training failed: {redact(cause)[:300]}",
        where=run,
        fix="see the log above; train.resume=true continues from the last checkpoint",
    )


def _describe(rows: GoodRows, part: Part, keep: bool) -> tuple[PartRows, pa.Table | None]:
    tell_driver()
    table = rows.table(part)
    return rows.describe(part, table), table if keep else None


def _table(rows: GoodRows, part: Part) -> pa.Table:
    tell_driver()
    return rows.table(part)


def _absolute(url: str) -> str:
    return str(Path(storage.local_path(url)).absolute()) if storage.is_local(url) else url
