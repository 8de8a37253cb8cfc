"""Parts, and which of their samples are good: known before the first epoch, since its order depends on it.

Imports no torch: the processes that decode come here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.sample import KEY, LABEL, ORDINAL, SHARD
from pipeline.shards.planning.plan import Part


@dataclass(frozen=True)
class PartRows:
    """A part and its good samples.

    Attributes:
        part: The part.
        ordinals: Ordinals of its good samples as ranges, (first, one after the last).
        index: ``KEY``, ``SHARD`` and ``LABEL`` of the good samples; None where nobody asks how often to repeat them.
    """

    part: Part
    ordinals: tuple[tuple[int, int], ...]
    index: pa.Table | None = None

    @classmethod
    def of(cls, part: Part, table: pa.Table, *, with_index: bool = False) -> PartRows:
        """What there is to know of a part.

        Args:
            part: The part.
            table: Its good samples.
            with_index: Whether to keep their keys and labels.
        """
        index = table.select([KEY, SHARD, LABEL]).combine_chunks() if with_index else None
        return cls(part, _ranges(ordinals_of(table)), index)

    @property
    def num_rows(self) -> int:
        """Good samples."""
        return sum(end - first for first, end in self.ordinals)

    @property
    def name(self) -> str:
        """What its place in an order is drawn from: the same wherever the shard lies, and whenever it was written."""
        return f"{self.part.shard}:{self.part.start}"

    def rows_in(self, table: pa.Table) -> np.ndarray:
        """The row of each of the good samples in a table of the part, int64 (num_rows,); -1 where it has none.

        Args:
            table: Of the part, decoded again: a sample may be good no longer, as one that took too long this time.
        """
        ordinals = ordinals_of(table)
        expected = np.concatenate(
            [np.arange(first, end) for first, end in self.ordinals] or [np.arange(0)]
        )
        if np.array_equal(expected, ordinals):
            return np.arange(len(expected))
        row_of = {int(ordinal): row for row, ordinal in enumerate(ordinals)}
        return np.array([row_of.get(int(ordinal), -1) for ordinal in expected], dtype=np.int64)


def ordinals_of(table: pa.Table) -> np.ndarray:
    """Ordinals of a table's rows, int64."""
    ordinals: np.ndarray = table[ORDINAL].to_numpy()
    return ordinals


def _ranges(ordinals: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Numbers in their order, as ranges."""
    if not len(ordinals):
        return ()
    cuts = np.flatnonzero(np.diff(ordinals) != 1) + 1
    firsts = ordinals[np.concatenate([[0], cuts])]
    lasts = ordinals[np.concatenate([cuts, [len(ordinals)]]) - 1]
    return tuple((int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True))
