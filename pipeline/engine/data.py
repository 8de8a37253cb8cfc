"""Parts -> a Ray data set of decoded samples: one read task, and one block, a part."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import pyarrow as pa
import ray
from ray.data import Dataset, Datasource, ReadTask
from ray.data.block import BlockMetadata

from pipeline.engine.cluster import configure_data
from pipeline.modalities.decode import Decoder
from pipeline.shards.plan import Part
from pipeline.shards.reader import read_part

DECODE_CPUS = 0.75  # below a model's actor or trainer in size, so that Ray does not fuse the two
RETRIES = 3  # of a read task whose worker dies


class PartsDatasource(Datasource):
    """Reads and decodes parts; encoded bytes never enter the object store.

    Args:
        parts: What is to be read, in this order.
        decoder: How; it is put into the object store once, not into every task.
    """

    def __init__(self, parts: Sequence[Part], decoder: Decoder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._parts = parts
        self._decoder = ray.put(decoder)

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
        data_context: object | None = None,
    ) -> list[ReadTask]:
        """One task a part, whatever parallelism is asked for: a part is the unit of failure and commit."""
        metadata = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [
            ReadTask(
                _read_task(part, self._decoder), metadata, per_task_row_limit=per_task_row_limit
            )
            for part in self._parts
        ]


def _read_task(part: Part, decoder: ray.ObjectRef[Decoder]) -> Callable[[], list[pa.Table]]:
    def read() -> list[pa.Table]:
        return [decode_part(part, ray.get(decoder))]

    return read


def decode_part(part: Part, decoder: Decoder) -> pa.Table:
    """Reads and decodes one part: a row for every sample, good or bad."""
    return decoder.decode(read_part(part), part.to_json())


def read_parts(parts: Sequence[Part], decoder: Decoder, *, in_order: bool = False) -> Dataset:
    """A data set with one block a part, in the decoder's schema.

    Args:
        parts: At least one part.
        decoder: Codecs, metadata and label.
        in_order: Hands blocks over in the order of the parts rather than as they are done: slower where parts differ
            in size, and needed where a seed shall give the same order of samples again.
    """
    configure_data()
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = in_order
    context.target_max_block_size = None  # a part stays one block up to the sink
    # Ray 2.60 deprecates this argument, and has no other for finite retries of tasks.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    blocks: Dataset = ray.data.read_datasource(
        PartsDatasource(parts, decoder),
        override_num_blocks=len(parts),
        num_cpus=DECODE_CPUS,
        ray_remote_args={"max_retries": RETRIES},
    )
    return blocks
