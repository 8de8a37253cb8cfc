"""Parts -> Ray Data: a row a part goes in, a block of decoded samples a part comes out.

Reading and decoding are one stage, so that encoded bytes never enter the object store.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, RandomSeedConfig

from pipeline.engine.cluster.session import configure_data, num_cpus
from pipeline.engine.decoding.cache import CachedDecoder
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.executors.tasks import RETRIES
from pipeline.engine.observe.beats import tell_driver
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import PART
from pipeline.shards.planning.plan import Part

# Of an actor: less than half, so that a model's actor or a trainer fits on a core beside it; and not equal to theirs,
# or Ray fuses the two stages.
DECODE_CPUS = 0.45
OTHERS_CPUS = 0.5  # of a model's actor or a trainer, which tasks leave room for
# Actors have their next parts waiting, tasks are waited for by the executor; but actors take two to three seconds to
# start, at every pass, in which tasks would have made up for it with this many parts.
PARTS_A_CPU = 16
CACHED_PARTS_A_TASK = 4  # they become one block, of about 128 MiB
PARTS_WAITING = 3  # at each actor, the one that it decodes included

Then = Callable[[pa.Table], pa.Table]


def read_parts(
    parts: Sequence[Part],
    decoder: Decoder,
    then: Then | None = None,
    *,
    in_order: bool = False,
    seed: int | None = None,
) -> Dataset:
    """A data set with one block a part, in the decoder's schema.

    Args:
        parts: At least one part.
        decoder: Codecs, metadata and label.
        then: What is done with a part's table where it was decoded, before it is handed over.
        in_order: Hands blocks over in the order of the parts rather than as they are done: slower where parts differ
            in size, and needed where a seed shall give the same order of samples again.
        seed: Shuffles the order of the parts, anew at every pass over the data set.
    """
    configure_data()
    context = DataContext.get_current()
    context.execution_options.preserve_order = in_order
    context.target_max_block_size = None  # a part stays one block up to the sink
    # Ray 2.60 deprecates these arguments, and has no others for finite retries.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    rows: Dataset = ray.data.from_items(
        [{PART: part.to_json()} for part in parts], override_num_blocks=len(parts)
    )
    if seed is not None:
        order = RandomSeedConfig(seed, reseed_after_execution=True)
        rows = rows.randomize_block_order(seed=order)
    # In a list, since Ray would fetch a bare reference into every task's description.
    shared = [ray.put(_Work(decoder, then))]
    cpus = num_cpus()
    # What lies in a cache is read faster than actors start, and every epoch would start them anew.
    if len(parts) < PARTS_A_CPU * cpus or isinstance(decoder, CachedDecoder):
        # Ray Data retries tasks without end unless told otherwise, and an input that kills its worker would hang it.
        return rows.map_batches(
            cast(Any, _decode),
            fn_args=(shared,),
            batch_size=_parts_a_task(len(parts), cpus)
            if isinstance(decoder, CachedDecoder)
            else None,
            batch_format="pyarrow",
            # More tasks than cores would only take turns: 40 % slower.
            num_cpus=DECODE_CPUS
            if isinstance(decoder, CachedDecoder)
            else (cpus - OTHERS_CPUS) / cpus,
            max_retries=RETRIES,
        )
    return rows.map_batches(
        _Decode,
        fn_constructor_args=(shared,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=cpus, max_tasks_in_flight_per_actor=PARTS_WAITING),
        num_cpus=DECODE_CPUS,
        max_restarts=-1,
        max_task_retries=RETRIES,
    )


@dataclass(frozen=True)
class _Work:
    """What is done with a part."""

    decoder: Decoder
    then: Then | None

    def __call__(self, row: pa.Table) -> pa.Table:
        tell_driver()
        table = decode_part(Part.from_json(row[PART][0].as_py()), self.decoder)
        return table if self.then is None else self.then(table)


class _Decode:
    """Fetches the work once an actor."""

    def __init__(self, shared: list[ray.ObjectRef[_Work]]) -> None:
        self.work: _Work = ray.get(shared[0])

    def __call__(self, row: pa.Table) -> pa.Table:
        return self.work(row)


def _decode(rows: pa.Table, shared: list[ray.ObjectRef[_Work]]) -> Iterator[pa.Table]:
    work: _Work = ray.get(shared[0])
    for index in range(rows.num_rows):
        yield work(rows.slice(index, 1))


def _parts_a_task(num_parts: int, cpus: int) -> int:
    """Parts that one task reads from a cache: a part takes a tenth of the executor's pause between tasks."""
    return max(1, min(CACHED_PARTS_A_TASK, num_parts // (4 * cpus)))
