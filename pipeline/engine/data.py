"""Parts -> Ray Data: one read task, and one block, a part; encoded bytes never enter the object store."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset, Datasource, ReadTask
from ray.data.block import BlockMetadata

from pipeline.engine.cluster import configure_data
from pipeline.engine.tasks import RETRIES, decode_part
from pipeline.modalities.decode import Decoder
from pipeline.shards.plan import Part

# Ray Data's executor takes 0.1 to 0.2 s to follow a finished task with the next, about as long as a part is decoded.
# Two tasks a core fill each other's gaps; on two cores this was 20 to 40 % faster than one and a half.
DECODE_CPUS = 0.5

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
        then: What is done with a part's table in the same task, before it is handed over.
        in_order: Hands blocks over in the order of the parts rather than as they are done: slower where parts differ
            in size, and needed where a seed shall give the same order of samples again.
        seed: Shuffles the order of the parts, anew at every pass over the data set.
    """
    configure_data()
    context = DataContext.get_current()
    context.execution_options.preserve_order = in_order
    context.target_max_block_size = None  # a part stays one block up to the sink
    # Ray 2.60 deprecates this argument, and has no other for finite retries of tasks.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    blocks: Dataset = ray.data.read_datasource(
        PartsDatasource(parts, _Work(decoder, then), seed),
        override_num_blocks=len(parts),
        num_cpus=DECODE_CPUS,
        ray_remote_args={"max_retries": RETRIES},
    )
    return blocks


@dataclass(frozen=True)
class _Work:
    """What a task does with each of its parts."""

    decoder: Decoder
    then: Then | None

    def __call__(self, part: Part) -> pa.Table:
        table = decode_part(part, self.decoder)
        return table if self.then is None else self.then(table)


class PartsDatasource(Datasource):
    """Reads parts, one task a part.

    Args:
        parts: What is to be read, in this order.
        work: Part -> table; it is put into the object store once, not into every task.
        seed: Shuffles the parts, anew at every pass.
    """

    def __init__(
        self, parts: Sequence[Part], work: Callable[[Part], pa.Table], seed: int | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._parts = parts
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
        """One task a part, whatever parallelism is asked for: a part is the unit of failure and commit."""
        metadata = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        parts = list(self._parts)
        if self._seed is not None:
            # Ray counts the passes over a data set here, and its own file readers shuffle by it.
            epoch = getattr(data_context, "_execution_idx", 0)
            random.Random(f"{self._seed}:{epoch}").shuffle(parts)
        return [
            ReadTask(_read_task(part, self._work), metadata, per_task_row_limit=per_task_row_limit)
            for part in parts
        ]


def _read_task(
    part: Part, work: ray.ObjectRef[Callable[[Part], pa.Table]]
) -> Callable[[], list[pa.Table]]:
    def read() -> list[pa.Table]:
        return [ray.get(work)(part)]

    return read
