"""Parts in memory, as the feed of a training reads them."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch

from pipeline.sample import KEY, LABEL, ORDINAL, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.training.feed import Batch, LaneFeed, Repeats
from pipeline.training.order import Lanes
from pipeline.training.parts import PartRows


class MemoryParts:
    """Parts of some sizes; each sample's value is its number among all.

    Args:
        sizes: Good samples of each part.

    Attributes:
        asked: Names of the parts that were asked for, in order.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.tables: dict[str, pa.Table] = {}
        self.rows: list[PartRows] = []
        self.asked: list[str] = []
        first = 0
        for index, size in enumerate(sizes):
            part = Part(f"{index}.tar", "", f"version {index}")
            table = pa.table(
                {
                    KEY: pa.array([f"s{number:05d}" for number in range(size)], pa.string()),
                    SHARD: pa.array([part.shard] * size, pa.string()),
                    ORDINAL: pa.array(3 * np.arange(size), pa.int64()),
                    LABEL: pa.array([str(number % 3) for number in range(size)], pa.string()),
                    "value": pa.array(range(first, first + size), pa.int64()),
                }
            )
            self.tables[part.shard] = table
            self.rows.append(PartRows.of(part, table, with_index=True))
            first += size

    def source(self, parts: Sequence[Part]) -> Iterator[pa.Table]:
        """Their tables."""
        for part in parts:
            self.asked.append(part.shard)
            yield self.tables[part.shard]

    def feed(
        self,
        rank: int = 0,
        num_workers: int = 1,
        *,
        lanes: int = 5,
        shuffle_rows: int = 40,
        batch_size: int = 7,
        seed: int = 3,
        repeats: Repeats | None = None,
    ) -> LaneFeed:
        """One worker's feed."""
        sizes = [part.num_rows for part in self.rows]
        names = [part.name for part in self.rows]
        return LaneFeed(
            self.rows,
            self.source,
            collate,
            Lanes.of(sizes, names, lanes, shuffle_rows, seed),
            batch_size,
            rank=rank,
            num_workers=num_workers,
            repeats=repeats,
        )


def collate(table: pa.Table) -> Batch:
    """The values alone."""
    return {"value": torch.from_numpy(table["value"].to_numpy().copy())}


def values(batch: Batch) -> list[int]:
    """Numbers of a batch's samples."""
    return [int(value) for value in batch.get("value", ())]
