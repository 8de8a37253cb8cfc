"""The places of an epoch: of every sample one, good or bad, in the order of the shards or shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa

from pipeline.engine.decoding.decoded_folder import is_decoded, num_rows
from pipeline.errors import RunError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import ERROR, KEY, LABEL
from pipeline.shards.planning.plan import Part, count_samples
from pipeline.training.order import EpochOrder, Lanes, Window

NUM_LANES = 8
COUNTERS = 16  # threads: they wait for storage


class Order(Protocol):
    """The order of one epoch; see :class:`pipeline.training.order.EpochOrder`."""

    num_rows: int

    def taken(self, position: int) -> np.ndarray:
        """Rows of each lane among the epoch's first ``position``, int64 (L,)."""

    def windows(self, lanes: Sequence[int], start: int = 0) -> list[tuple[int, Window]]:
        """The windows that some lanes need from a position on."""


@dataclass(frozen=True)
class _PartInOrder(Window):
    """A part whose rows are not shuffled."""

    @cached_property
    def rows(self) -> np.ndarray:
        return np.arange(self.size)


class FileOrder:
    """Part after part, row after row, in one lane."""

    def __init__(self, sizes: Sequence[int]) -> None:
        firsts = np.cumsum([0, *sizes]).tolist()
        self.num_rows = firsts[-1]
        self._windows = [
            _PartInOrder(0, firsts[index], (index,), (size,), 0)
            for index, size in enumerate(sizes)
            if size
        ]

    def taken(self, position: int) -> np.ndarray:
        return np.array([min(position, self.num_rows)])

    def windows(self, lanes: Sequence[int], start: int = 0) -> list[tuple[int, Window]]:
        return [
            (max(window.first, start), window)
            for window in self._windows
            if window.first + window.size > start
        ]


def order_of(
    parts: Sequence[Part], sizes: Sequence[int], seed: int | None, epoch: int, shuffle_rows: int
) -> Order:
    """The order of an epoch.

    Args:
        parts: All.
        sizes: Places of each.
        seed: Of the shuffling; None keeps the order of the parts.
        epoch: Counted from 0.
        shuffle_rows: Rows that are shuffled among, at least.
    """
    if seed is None:
        return FileOrder(sizes)
    names = [f"{part.shard}:{part.start}" for part in parts]
    lanes = Lanes.of(sizes, names, NUM_LANES, shuffle_rows, seed)
    return EpochOrder(lanes, sizes, epoch)


def places_of(parts: Sequence[Part]) -> list[int]:
    """How many places each part has: its samples by their headers, or its rows where it was decoded before."""

    def count(part: Part) -> int:
        return num_rows([part]) if is_decoded(part) else count_samples(part)

    with ThreadPoolExecutor(COUNTERS) as pool:
        return list(pool.map(count, parts))


@dataclass(frozen=True)
class OpenPart:
    """A part in memory.

    Attributes:
        table: Its good samples.
        rows: For each of its places the row of the table, int64; -1 where the sample is bad.
    """

    table: pa.Table
    rows: np.ndarray

    @classmethod
    def of(cls, part: Part, size: int, table: pa.Table, decoder: Decoder) -> OpenPart:
        """A decoded part.

        Args:
            part: The part.
            size: Its places.
            table: A row for every sample, good or bad, and for every damage.
            decoder: Whose columns are kept.

        Raises:
            RunError: It has more samples than places.
        """
        samples = table.filter(table[KEY].is_valid())
        good = np.asarray(samples[ERROR].combine_chunks().is_null())
        if len(good) > size:
            raise RunError(
                f"{size} samples were counted, and {len(good)} were read",
                where=part.url,
                fix="begin again: the shard was changed in between",
            )
        rows = np.full(size, -1, dtype=np.int64)
        rows[: len(good)] = np.where(good, np.cumsum(good) - 1, -1)
        names = [KEY, LABEL, *decoder.codecs]
        return cls(samples.filter(pa.array(good)).select(names).combine_chunks(), rows)

    def piece(self, places: np.ndarray) -> pa.Table:
        """The good samples among some of its places."""
        rows = self.rows[places]
        return self.table.take(pa.array(rows[rows >= 0]))


@dataclass(frozen=True)
class OpenWindow:
    """A window with its parts in memory."""

    window: Window
    parts: Sequence[OpenPart]

    @property
    def end(self) -> int:
        """The place in the lane just after its last."""
        return self.window.first + self.window.size

    def pieces(self, start: int, end: int) -> list[pa.Table]:
        """What it has of some places in the lane."""
        first = self.window.first
        places = self.window.rows[max(0, start - first) : max(0, end - first)]
        pieces, begin = [], 0
        for part, size in zip(self.parts, self.window.sizes, strict=True):
            inside = places[(places >= begin) & (places < begin + size)] - begin
            if len(inside):
                pieces.append(part.piece(inside))
            begin += size
        return pieces
