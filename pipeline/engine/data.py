"""Parts -> Ray Data: read, decode, and where nothing else follows also write, in one task.

Encoded bytes never enter the object store. A part that goes on to a model or a trainer is one block of a task of its
own (:func:`read_parts`). Where the task itself is the end of the way (:func:`work_through`), several parts share a
task, one after the other, and only what is said of them comes back.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset, Datasource, ReadTask
from ray.data.block import BlockMetadata

from pipeline.engine.cache import CachedDecoder, cached
from pipeline.engine.cluster import configure_data
from pipeline.modalities.decode import Decoder
from pipeline.shards.plan import Part
from pipeline.shards.reader import read_part

# Ray Data's executor takes 0.1 to 0.2 s to follow a finished task with the next, as long as a part is decoded. Two
# tasks a core fill each other's gaps; on two cores this was 20 to 40 % faster than one and a half (bench/README.md).
DECODE_CPUS = 0.5
# A task that works through several parts has no such gaps, and a second worker a core would only cost memory.
WORK_CPUS = 1.0
LARGEST_GROUP = 8  # parts of such a task: seconds of work, so that progress is seen and little is lost with a worker
RETRIES = 3  # of a task whose worker dies

Then = Callable[[pa.Table], pa.Table]


def decode_part(part: Part, decoder: Decoder) -> pa.Table:
    """Reads and decodes one part, or finds it in the decoder's cache: a row for every sample, good or bad."""

    def decode() -> pa.Table:
        return decoder.decode(read_part(part), part.to_json())

    return cached(decoder.cache, part, decode) if isinstance(decoder, CachedDecoder) else decode()


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
        then: What is done with a part's table in the same task, before it is handed over.
        in_order: Hands blocks over in the order of the parts rather than as they are done: slower where parts differ
            in size, and needed where a seed shall give the same order of samples again.
        seed: Shuffles the order of the parts, anew at every pass over the data set.
    """
    source = PartsDatasource([[part] for part in parts], _Work(decoder, then), seed)
    return _read(source, DECODE_CPUS, in_order=in_order)


def work_through(parts: Sequence[Part], decoder: Decoder, then: Then, num_cpus: int) -> Dataset:
    """A data set of what ``then`` says of each part: small tables, several parts of them a block.

    Args:
        parts: At least one part.
        decoder: Codecs, metadata and label.
        then: The end of a part's way, for example a sink; its result should be small.
        num_cpus: Of the cluster; groups of parts shrink towards the end, so that all of them end together.
    """
    groups = list(group_parts(parts, num_cpus))
    return _read(PartsDatasource(groups, _Work(decoder, then)), WORK_CPUS, in_order=False)


def group_parts(parts: Sequence[Part], num_workers: int) -> Iterator[Sequence[Part]]:
    """Cuts parts into groups that become smaller towards the end.

    Source: Polychronopoulos and Kuck 1987, "Guided Self-Scheduling", with half of each worker's share at a time.
    """
    start = 0
    while start < len(parts):
        share = (len(parts) - start) // (2 * max(1, num_workers))
        size = min(LARGEST_GROUP, max(1, share))
        yield parts[start : start + size]
        start += size


@dataclass(frozen=True)
class _Work:
    """What a task does with each of its parts."""

    decoder: Decoder
    then: Then | None

    def __call__(self, part: Part) -> pa.Table:
        table = decode_part(part, self.decoder)
        return table if self.then is None else self.then(table)


class PartsDatasource(Datasource):
    """Reads groups of parts, one task a group.

    Args:
        groups: What is to be read, in this order.
        work: Part -> table; it is put into the object store once, not into every task.
        seed: Shuffles the groups, anew at every pass.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Part]],
        work: Callable[[Part], pa.Table],
        seed: int | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.groups = groups
        self._work = ray.put(work)
        self._seed = seed

    def get_name(self) -> str:
        """The name in Ray's plan."""
        return "ReadParts"

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown before decoding."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One task a group, whatever parallelism is asked for: a part is the unit of failure and commit."""
        metadata = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        groups = list(self.groups)
        if self._seed is not None:
            # Ray counts the passes over a data set here, and its own file readers shuffle by it.
            epoch = getattr(data_context, "_execution_idx", 0)
            random.Random(f"{self._seed}:{epoch}").shuffle(groups)
        return [
            ReadTask(_task(group, self._work), metadata, per_task_row_limit=per_task_row_limit)
            for group in groups
        ]


def _task(
    group: Sequence[Part], work: ray.ObjectRef[Callable[[Part], pa.Table]]
) -> Callable[[], Iterator[pa.Table]]:
    def read() -> Iterator[pa.Table]:
        on_part = ray.get(work)
        for part in group:
            yield on_part(part)

    return read


def _read(source: PartsDatasource, num_cpus: float, *, in_order: bool) -> Dataset:
    configure_data()
    context = DataContext.get_current()
    context.execution_options.preserve_order = in_order
    context.target_max_block_size = None  # a task's tables become one block, uncut
    # Ray 2.60 deprecates this argument, and has no other for finite retries of tasks.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    blocks: Dataset = ray.data.read_datasource(
        source,
        override_num_blocks=len(source.groups),
        num_cpus=num_cpus,
        ray_remote_args={"max_retries": RETRIES},
    )
    return blocks
