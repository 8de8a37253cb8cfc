"""The work of parts on Ray Data: a row a part goes in, and what became of the part comes out.

Reading and decoding are one stage, so that encoded bytes never enter the object store.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, cast

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from pipeline import pulse
from pipeline.engine.cluster.failures import plain_errors
from pipeline.engine.cluster.session import configure_data, num_cpus
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.executors.base import Stage, Written, handed_over
from pipeline.engine.executors.on_ray import RayExecutor, WholeWay, share_of
from pipeline.engine.executors.tasks import RETRIES
from pipeline.engine.infer.predictors import Predict, PredictorPool
from pipeline.engine.observe.beats import tell_driver
from pipeline.engine.observe.begun import Marks, tell_lost
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import PART
from pipeline.shards.planning.plan import Part

# Of an actor: less than half, so that a model's actor or a trainer fits on a core beside it; and not equal to theirs,
# or Ray fuses the two stages.
DECODE_CPUS = 0.45
OTHERS_CPUS = 0.5  # of a model's actor or a trainer, which tasks leave room for
# Actors have their next parts waiting, tasks are waited for by the executor; but actors take two to three seconds to
# start, in which tasks would have made up for it with this many parts.
PARTS_A_CPU = 16
PARTS_WAITING = 3  # at each actor, the one that it decodes included

Block: TypeAlias = "pa.Table | Mapping[str, np.ndarray]"
_RESULT, _AGAIN = "result", "again"


class DatasetExecutor(RayExecutor):
    """Does the work of parts on Ray Data; see :class:`pipeline.engine.executors.base.Executor`.

    What Ray Data shows of its stages, in its dashboard and metrics, is seen of them. It does lost work again itself,
    and does not say so: workers mark what they begin, and ``on_loss`` is called once the part has come back.
    """

    def run(
        self,
        parts: Sequence[Part],
        stage: Stage[Written],
        on_loss: Callable[[], None] = lambda: None,
    ) -> Iterator[Written]:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        if not parts:
            return
        marks = Marks.opened()
        with plain_errors(stage.name), contextlib.ExitStack() as at_the_end:
            at_the_end.callback(marks.forget)
            results = self._results(parts, stage, marks)
            for block in results.iter_batches(batch_size=None, batch_format="numpy"):
                pulse.beat()
                for text, times in zip(block[PART], block[_AGAIN], strict=True):
                    tell_lost(Part.from_json(text), stage.name, int(times), on_loss)
                yield from block[_RESULT]

    def describe(self, pool: PredictorPool | None) -> str:
        """See :class:`pipeline.engine.executors.base.Executor`."""
        return f"{super().describe(pool)}; as stages of Ray Data"

    def _results(self, parts: Sequence[Part], stage: Stage[Written], marks: Marks) -> Dataset:
        """A row a part."""
        pool, loader = stage.pool, stage.loader
        if pool is None or loader is None:
            return read_parts(parts, stage.decoder, partial(_written, stage.write), marks=marks)
        if pool.whole_parts and stage.load is None:
            whole_way = partial(_result_of, WholeWay(stage))
            return _map_parts(parts, whole_way, pool.num_cpus, pool.num_actors, marks=marks)
        share = share_of(pool)
        # In one row each: Ray Data passes over blocks without rows, which parts may have.
        decoded = read_parts(parts, stage.decoder, partial(_written, handed_over), marks=marks)
        return decoded.map_batches(
            _Predicting,
            fn_constructor_args=([ray.put((loader, stage.write, marks))],),
            batch_size=None,
            batch_format="numpy",
            compute=ActorPoolStrategy(size=share.num_actors),
            num_cpus=share.actor_cpus,
            num_gpus=share.actor_gpus,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )


def read_parts(
    parts: Sequence[Part],
    decoder: Decoder,
    then: Callable[[pa.Table], Block] | None = None,
    *,
    in_order: bool = False,
    marks: Marks | None = None,
) -> Dataset:
    """A data set with one block a part, in the decoder's schema.

    Args:
        parts: At least one part.
        decoder: Codecs, metadata and label.
        then: What is done with a part's table where it was decoded, before it is handed over.
        in_order: Hands blocks over in the order of the parts rather than as they are done: slower where parts differ
            in size.
        marks: Where it is noted that a part is begun, if ``then`` makes one row of it.
    """
    cpus = num_cpus()
    if len(parts) < PARTS_A_CPU * cpus:
        # More tasks than cores would only take turns: 40 % slower.
        cpus_each = (cpus - OTHERS_CPUS) / cpus
        return _map_parts(
            parts, _Decoding(decoder, then), cpus_each, in_order=in_order, marks=marks
        )
    shared = [ray.put(_OnRow(_Decoding(decoder, then), marks))]
    return _rows_of(parts, in_order).map_batches(
        _DecodingActor,
        fn_constructor_args=(shared,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=cpus, max_tasks_in_flight_per_actor=PARTS_WAITING),
        num_cpus=DECODE_CPUS,
        max_restarts=-1,
        max_task_retries=RETRIES,
    )


def _map_parts(
    parts: Sequence[Part],
    work: Callable[[Part], Block],
    cpus_each: float,
    at_once: int | None = None,
    *,
    in_order: bool = False,
    marks: Marks | None = None,
) -> Dataset:
    """Work on each part, in tasks.

    Args:
        parts: Which.
        work: Part -> what becomes of it.
        cpus_each: That a task is counted as.
        at_once: Tasks at a time, at most.
        in_order: Whether blocks keep the order of the parts.
        marks: Where it is noted that a part is begun, if ``work`` makes one row of it.
    """
    # In a list, since Ray would fetch a bare reference into every task's description.
    shared = [ray.put(_OnRow(work, marks))]
    # Ray Data retries tasks without end unless told otherwise, and an input that kills its worker would hang it.
    return _rows_of(parts, in_order).map_batches(
        cast("Callable[..., Block]", _work_on),
        fn_args=(shared,),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=cpus_each,
        concurrency=at_once,
        max_retries=RETRIES,
    )


def _rows_of(parts: Sequence[Part], in_order: bool) -> Dataset:
    configure_data()
    context = DataContext.get_current()
    context.execution_options.preserve_order = in_order
    context.target_max_block_size = None  # a part stays one block up to the sink
    # Ray 2.60 deprecates these arguments, and has no others for finite retries.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    rows = [{PART: part.to_json()} for part in parts]
    return ray.data.from_items(rows, override_num_blocks=len(parts))


@dataclass(frozen=True)
class _Decoding:
    """Decodes a part, and does what is to be done with its table at once."""

    decoder: Decoder
    then: Callable[[pa.Table], Block] | None

    def __call__(self, part: Part) -> Block:
        table = decode_part(part, self.decoder)
        return table if self.then is None else self.then(table)


class _DecodingActor:
    """Fetches the work once."""

    def __init__(self, shared: list[ray.ObjectRef[_OnRow]]) -> None:
        self._work = ray.get(shared[0])

    def __call__(self, row: pa.Table) -> Block:
        return self._work(row)


class _Predicting:
    """An actor with a model: decoded parts in, what was written of their predictions out."""

    def __init__(
        self,
        shared: list[ray.ObjectRef[tuple[Callable[[], Predict], Callable[..., object], Marks]]],
    ) -> None:
        load, self._write, self._marks = ray.get(shared[0])
        self._predict = load()

    def __call__(self, block: Mapping[str, np.ndarray]) -> Block:
        tell_driver()
        [table], [text], [again] = block[_RESULT], block[PART], block[_AGAIN]
        # What a lost node costs both stages is one loss.
        times = max(int(again), self._marks.begin(Part.from_json(text), "predict"))
        return {**_as_row(self._write(self._predict(table))), **_told(text, times)}


def _work_on(row: pa.Table, shared: list[ray.ObjectRef[_OnRow]]) -> Block:
    return ray.get(shared[0])(row)


@dataclass(frozen=True)
class _OnRow:
    """Work on the part of a row; where there are marks, the row that it makes tells how often it was begun before."""

    work: Callable[[Part], Block]
    marks: Marks | None

    def __call__(self, row: pa.Table) -> Block:
        tell_driver()
        text = row[PART][0].as_py()
        part = Part.from_json(text)
        if self.marks is None:
            return self.work(part)
        times = self.marks.begin(part, "decode")
        return {**_columns(self.work(part)), **_told(text, times)}


def _columns(block: Block) -> Mapping[str, np.ndarray]:
    assert not isinstance(block, pa.Table)
    return block


def _told(text: str, times: int) -> dict[str, np.ndarray]:
    """The part of a row, and how often it was begun before."""
    return {PART: np.array([text]), _AGAIN: np.array([times])}


def _result_of(work: Callable[[Part], object], part: Part) -> Block:
    return _as_row(work(part))


def _written(write: Callable[[pa.Table], object], table: pa.Table) -> Block:
    return _as_row(write(table))


def _as_row(result: object) -> dict[str, np.ndarray]:
    """A block of one row, whatever the result is."""
    column = np.empty(1, dtype=object)
    column[0] = result
    return {_RESULT: column}
