"""The order of an epoch, fixed by seed, epoch and parts, and by nothing else.

Parts are dealt to a fixed number of lanes. Each lane reads its parts in an order of its own, drawn anew each epoch, and
shuffles the rows of as many parts at a time as fill its buffer: a window. The epoch takes one row of each lane in turn,
and goes on with the others once a lane has ended. The next B rows of it are a global batch, of which each worker takes
the rows of the lanes that it owns. All of it is arithmetic on the parts' sizes, so that an epoch can begin anywhere.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.models.seeds import digest, mixed


def deal(sizes: Sequence[int], num_bins: int) -> list[list[int]]:
    """Deals things to bins so that the bins are about equally full: the largest first, to the emptiest.

    Args:
        sizes: Of each thing.
        num_bins: Of the bins.

    Returns:
        For each bin the indexes of its things, ascending.

    Source:
        Graham 1969, "Bounds on multiprocessing timing anomalies", section 5 (longest processing time first).
    """
    bins: list[list[int]] = [[] for _ in range(num_bins)]
    fill = [(0, number) for number in range(num_bins)]
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        size, number = heapq.heappop(fill)
        bins[number].append(index)
        heapq.heappush(fill, (size + sizes[index], number))
    return [sorted(indexes) for indexes in bins]


@dataclass(frozen=True)
class Lanes:
    """Which parts a lane has, the same in every epoch.

    Attributes:
        parts: For each lane the indexes of its parts.
        names: Of each part: what its place in a lane's order is drawn from.
        buffer_rows: Rows that a lane shuffles among, at least; parts are not cut for it.
        seed: Of the configuration.
    """

    parts: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    buffer_rows: int
    seed: int

    @classmethod
    def of(
        cls,
        sizes: Sequence[int],
        names: Sequence[str],
        num_lanes: int,
        shuffle_rows: int,
        seed: int,
    ) -> Lanes:
        """Deals parts to lanes by their size.

        Args:
            sizes: Rows of each part.
            names: Of each part, all different.
            num_lanes: Of the lanes; with fewer parts some stay empty.
            shuffle_rows: Rows that all lanes together shuffle among.
            seed: Of the configuration.
        """
        parts = tuple(tuple(indexes) for indexes in deal(sizes, num_lanes))
        return cls(parts, tuple(names), -(-shuffle_rows // num_lanes), seed)

    @property
    def settings(self) -> dict[str, int]:
        """What the lanes' orders follow from, beside the parts."""
        return {"lanes": len(self.parts), "buffer_rows": self.buffer_rows, "seed": self.seed}

    def owned(self, sizes: Sequence[int], rank: int, num_workers: int) -> tuple[int, ...]:
        """The lanes of a worker, so that all workers have about as many rows.

        Args:
            sizes: Rows of each part.
            rank: Of the worker.
            num_workers: Of the workers.
        """
        rows = [sum(sizes[index] for index in indexes) for indexes in self.parts]
        return tuple(deal(rows, num_workers)[rank])


@dataclass(frozen=True)
class Window:
    """Parts of a lane whose rows are shuffled together.

    Attributes:
        lane: Number of the lane.
        first: Place of its first row in the lane.
        parts: Indexes of its parts, in the lane's order.
        sizes: Rows of each of them.
        key: What its order is drawn from.
    """

    lane: int
    first: int
    parts: tuple[int, ...]
    sizes: tuple[int, ...]
    key: int

    @property
    def size(self) -> int:
        """Rows of all its parts."""
        return sum(self.sizes)

    @cached_property
    def rows(self) -> np.ndarray:
        """Its rows in their shuffled order, int64 (size,): places in its parts laid end to end."""
        places = np.arange(self.size, dtype=np.uint64)
        return np.argsort(mixed(mixed(places + np.uint64(self.key))), kind="stable")


class EpochOrder:
    """The order of one epoch.

    Args:
        lanes: Which parts a lane has.
        sizes: Rows of each part in this epoch.
        epoch: Counted from 0.
    """

    def __init__(self, lanes: Lanes, sizes: Sequence[int], epoch: int) -> None:
        self._windows = [_windows(lanes, lane, sizes, epoch) for lane in range(len(lanes.parts))]
        self._lengths = np.array(
            [sum(window.size for window in windows) for windows in self._windows], dtype=np.int64
        )
        self.num_rows = int(self._lengths.sum())

    def taken(self, position: int) -> np.ndarray:
        """Rows of each lane among the epoch's first ``position``, int64 (L,)."""
        lengths = self._lengths
        low, high = 0, int(lengths.max(initial=0))
        while low < high:  # the whole rounds among them
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high)
                if int(np.minimum(lengths, middle).sum()) <= position
                else (low, middle - 1)
            )
        rows = np.minimum(lengths, low)
        going_on = np.flatnonzero(lengths > low)
        rows[going_on[: max(0, position - int(rows.sum()))]] += 1
        return rows

    def position_of(self, lane: int, place: int) -> int:
        """The epoch's position of a lane's row."""
        before = int(np.minimum(self._lengths, place).sum())
        return before + int((self._lengths[:lane] > place).sum())

    def windows(self, lanes: Sequence[int], start: int = 0) -> list[tuple[int, Window]]:
        """The windows that some lanes need from a position on.

        Args:
            lanes: Numbers of the lanes.
            start: The first row's position in the epoch.

        Returns:
            (Position at which it is first needed, window), in that order.
        """
        taken = self.taken(start)
        needed = [
            (self.position_of(lane, max(window.first, int(taken[lane]))), window)
            for lane in lanes
            for window in self._windows[lane]
            if window.first + window.size > taken[lane]
        ]
        return sorted(needed, key=lambda pair: pair[0])


def _windows(lanes: Lanes, lane: int, sizes: Sequence[int], epoch: int) -> list[Window]:
    """The windows of a lane in one epoch; parts without rows are in none."""
    drawn = sorted(
        (digest("part", lanes.seed, epoch, lanes.names[index]), index)
        for index in lanes.parts[lane]
        if sizes[index]
    )
    windows: list[Window] = []
    first = rows = 0
    parts: list[int] = []
    for place, (_, index) in enumerate(drawn):
        parts.append(index)
        rows += sizes[index]
        if rows >= lanes.buffer_rows or place == len(drawn) - 1:
            key = digest("window", lanes.seed, epoch, lane, len(windows)) >> 1
            windows.append(
                Window(lane, first, tuple(parts), tuple(sizes[part] for part in parts), key)
            )
            first, rows, parts = first + rows, 0, []
    return windows
