"""Batches of an epoch, gathered from tables of decoded parts along the lanes of its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from torch import Tensor

from pipeline.modalities.chance import CHANCE
from pipeline.models.batch import chance_column
from pipeline.sample import BASE_SCHEMA, KEY, LABEL, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.training.order import EpochOrder, Lanes, Window
from pipeline.training.parts import PartRows

Batch = dict[str, Tensor]
Collate = Callable[[pa.Table], Batch]
Source = Callable[[Sequence[Part]], Iterator[pa.Table]]
"""Parts -> the tables of their good samples, one a part in the same order; may work a few parts ahead."""
Repeats = Callable[[pa.Table, int], np.ndarray]
"""(``KEY``, ``SHARD`` and ``LABEL`` of a part's samples; epoch) -> int64, how often the epoch has each, 1 or more."""


class Feed(Protocol):
    """Batches in an order that has a position: how many rows of the epoch, of all workers, lie before it.

    Attributes:
        samples: Different samples that this worker has been given since :meth:`batches` was called.
        position: Just behind the last global batch that was given.
        keys: ``KEY`` and ``SHARD`` of the rows of the batch that was given last; None before the first.
        order: What the order of an epoch follows from, beside its number; ready for JSON.
    """

    samples: int
    position: int
    keys: pa.Table | None

    @property
    def order(self) -> Mapping[str, int]:
        """See above."""

    def num_batches(self, epoch: int) -> int:
        """Global batches of an epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This worker's share of each global batch; empty where it has no row of one.

        Args:
            epoch: Counted from 0.
            start: Position of the first of them.
        """


class LaneFeed:
    """One worker's share of epochs whose order is that of :mod:`pipeline.training.order`.

    Args:
        parts: All parts of the split.
        source: Where their tables come from.
        collate: Table -> tensors of the batch.
        lanes: How the parts are dealt.
        batch_size: Rows of a global batch.
        rank: Of this worker.
        num_workers: Of all.
        repeats: How often an epoch has each sample; once where None.

    Attributes:
        samples: Different samples that were given since :meth:`batches` was called.
        position: See :class:`Feed`.
        keys: See :class:`Feed`.
    """

    def __init__(
        self,
        parts: Sequence[PartRows],
        source: Source,
        collate: Collate,
        lanes: Lanes,
        batch_size: int,
        *,
        rank: int = 0,
        num_workers: int = 1,
        repeats: Repeats | None = None,
    ) -> None:
        self._parts, self._source, self._collate = parts, source, collate
        self._lanes, self._batch_size, self._repeats = lanes, batch_size, repeats
        self._owned = lanes.owned([part.num_rows for part in parts], rank, num_workers)
        self.samples = self.position = 0
        self.keys: pa.Table | None = None

    @property
    def order(self) -> Mapping[str, int]:
        """See :class:`Feed`."""
        return self._lanes.settings

    def num_batches(self, epoch: int) -> int:
        """Global batches of an epoch, the last of which may be smaller."""
        return -(-self._order(epoch)[0].num_rows // self._batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See :class:`Feed`."""
        self.samples = 0
        order, counts = self._order(epoch)
        position = self.position = start
        windows = deque(order.windows(self._owned, position))
        parts = [self._parts[index].part for _, window in windows for index in window.parts]
        tables = self._source(parts)
        opened: list[_OpenWindow] = []
        while position < order.num_rows:
            end = min(position + self._batch_size, order.num_rows)
            while windows and windows[0][0] < end:
                opened.append(self._open(windows.popleft()[1], tables, counts))
            opened.sort(key=lambda window: (window.lane, window.end))
            before, after = order.taken(position), order.taken(end)
            pieces = [p for w in opened for p in w.pieces(before[w.lane], after[w.lane])]
            opened = [window for window in opened if window.end > after[window.lane]]
            position = self.position = end
            yield self._batch(pieces, epoch)

    def _order(self, epoch: int) -> tuple[EpochOrder, list[np.ndarray | None]]:
        """The order, and for each part how often each of its rows comes; None where each comes once."""
        counts: list[np.ndarray | None] = [None] * len(self._parts)
        if self._repeats is not None:
            counts = [self._repeats(part.index, epoch) for part in self._parts]
        sizes = [
            part.num_rows if count is None else int(count.sum())
            for part, count in zip(self._parts, counts, strict=True)
        ]
        return EpochOrder(self._lanes, sizes, epoch), counts

    def _open(
        self, window: Window, tables: Iterator[pa.Table], counts: Sequence[np.ndarray | None]
    ) -> _OpenWindow:
        parts = [
            _OpenPart.of(self._parts[index], next(tables), counts[index]) for index in window.parts
        ]
        return _OpenWindow(window, parts)

    def _batch(self, pieces: Sequence[_Piece], epoch: int) -> Batch:
        """Collates what the lanes give; no sample makes no tensors."""
        self.keys = None
        num_rows = sum(piece.table.num_rows for piece in pieces)
        if not num_rows:
            return {}
        table = pa.concat_tables([piece.table for piece in pieces]).combine_chunks()
        self.keys = table.select([KEY, SHARD])
        repeats = np.concatenate([piece.repeats for piece in pieces])
        self.samples += int((repeats == 0).sum())
        chance = chance_column(table, self._lanes.seed, epoch, repeats)
        return {**self._collate(table), CHANCE: chance}


class InOrderFeed:
    """All samples of some parts, one after the other: what a validation goes through.

    Args:
        parts: Which.
        source: Where their tables come from.
        collate: Table -> tensors of the batch.
        batch_size: Rows of a batch.

    Attributes:
        samples: Samples that were given since :meth:`batches` was called.
        position: See :class:`Feed`.
        keys: See :class:`Feed`.
        order: Nothing: it is always the same.
    """

    order: Mapping[str, int] = {}

    def __init__(
        self, parts: Sequence[PartRows], source: Source, collate: Collate, batch_size: int
    ) -> None:
        self._parts, self._source, self._collate = parts, source, collate
        self._batch_size = batch_size
        self.samples = self.position = 0

    def num_batches(self, epoch: int) -> int:
        """Batches, the last of which may be smaller."""
        return -(-sum(part.num_rows for part in self._parts) // self._batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """All batches from ``start`` on, which is where one begins; the same in every epoch."""
        self.samples = self.position = 0
        tables = (_slim(table) for table in self._source([part.part for part in self._parts]))
        for table in _rebatched(tables, self._batch_size):
            self.position += table.num_rows
            if self.position > start:
                self.samples += table.num_rows
                self.keys = table.select([KEY, SHARD])
                yield self._collate(table)


@dataclass(frozen=True)
class _Piece:
    """Rows for a batch, and of each how often the epoch has had it before, int64."""

    table: pa.Table
    repeats: np.ndarray


@dataclass(frozen=True)
class _OpenPart:
    """A part in memory.

    Attributes:
        table: Its good samples.
        rows: For each of its places in the order the row of the table, int64; -1 where the sample is no longer good,
            as one whose decoding took too long this time.
        repeats: For each place, how often the sample came before.
    """

    table: pa.Table
    rows: np.ndarray
    repeats: np.ndarray

    @classmethod
    def of(cls, part: PartRows, table: pa.Table, count: np.ndarray | None) -> _OpenPart:
        rows = part.rows_in(table)
        repeats = np.zeros(len(rows), dtype=np.int64)
        if count is not None:
            starts = np.cumsum(count) - count
            repeats = np.arange(int(count.sum())) - np.repeat(starts, count)
            rows = np.repeat(rows, count)
        return cls(_slim(table), rows, repeats)

    def piece(self, places: np.ndarray) -> _Piece:
        """Some of its places in the order, those that are still good."""
        places = places[self.rows[places] >= 0]
        return _Piece(self.table.take(pa.array(self.rows[places])), self.repeats[places])


@dataclass(frozen=True)
class _OpenWindow:
    """A window with its parts in memory."""

    window: Window
    parts: Sequence[_OpenPart]

    @property
    def lane(self) -> int:
        return self.window.lane

    @property
    def end(self) -> int:
        """The place in the lane just after its last row."""
        return self.window.first + self.window.size

    def pieces(self, start: int, end: int) -> Iterator[_Piece]:
        """What it has of some places in the lane."""
        first = self.window.first
        places = self.window.rows[max(0, start - first) : max(0, end - first)]
        begin = 0
        for part, size in zip(self.parts, self.window.sizes, strict=True):
            inside = places[(places >= begin) & (places < begin + size)] - begin
            if len(inside):
                yield part.piece(inside)
            begin += size


def _slim(table: pa.Table) -> pa.Table:
    """Without the columns that no batch needs, each of the others in one piece."""
    names = [
        name
        for name in table.column_names
        if name in (KEY, SHARD, LABEL) or name not in BASE_SCHEMA.names
    ]
    return table.select(names).combine_chunks()


def _rebatched(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """Tables of ``size`` rows, the last of which may have fewer."""
    rest: list[pa.Table] = []
    waiting = 0
    for table in tables:
        while waiting + table.num_rows >= size:
            head = table.slice(0, size - waiting)
            yield pa.concat_tables([*rest, head])
            table, rest, waiting = table.slice(head.num_rows), [], 0
        rest.append(table)
        waiting += table.num_rows
    if waiting:
        yield pa.concat_tables(rest)


def num_rows(batch: Mapping[str, Tensor]) -> int:
    """Samples of a batch; 0 of an empty one."""
    return len(next(iter(batch.values()))) if batch else 0
