"""Batches of samples in an order that has a position, for a loop of one's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipeline.api.order import OpenPart, OpenWindow, Order, order_of, places_of
from pipeline.errors import ConfigError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import KEY, LABEL
from pipeline.shards.planning.plan import Part

WHERE = "batches"
Batch = dict[str, Any]
"""``NAME`` (n, ...) and ``NAME_present`` bool (n,) of each modality, arrays or tensors; ``key``, ``label``."""


class Tables(Protocol):
    """Decodes parts."""

    def tables(self, parts: Sequence[Part]) -> Generator[pa.Table, None, None]:
        """Decoded parts in their order, a row for every sample, good or bad."""


class Batches:
    """Batches of good samples; made by :meth:`pipeline.api.samples.Samples.batches`.

    Each iteration is an epoch, and the one after a whole epoch is the next. One that is given up begins again where it
    had begun. The order of an epoch depends on the seed, its number, the shards and the size of batches, and on nothing
    else. Where :meth:`state` is given to a new one, it goes on with the very next batch.

    ``len`` is known once an epoch has been read to its end: until then no one knows how many samples are good.
    """

    def __init__(
        self,
        source: Tables,
        parts: Sequence[Part],
        decoder: Decoder,
        size: int,
        *,
        torch: bool,
        seed: int | None,
        drop_last: bool,
        epoch: int,
        start: int,
        classes: Sequence[str] | None,
        shuffle_rows: int,
    ) -> None:
        for name, value, least in (
            ("size", size, 1),
            ("epoch", epoch, 0),
            ("start", start, 0),
            ("shuffle_rows", shuffle_rows, 1),
        ):
            if value < least:
                raise ConfigError(f"{name} is {value}", where=WHERE, fix=f"give {least} or more")
        if classes is not None and decoder.target is None:
            raise ConfigError(
                "classes are named, and no label is read",
                where=WHERE,
                fix="name the label too: pipeline.read(..., label=...)",
            )
        self._source, self._parts, self._decoder, self._size = source, parts, decoder, size
        self._torch, self._seed, self._drop_last = torch, seed, drop_last
        self._shuffle_rows = shuffle_rows
        self._numbers = None if classes is None else {name: n for n, name in enumerate(classes)}
        self._begin = self._position = (epoch, start)
        self._sizes: list[int] | None = None
        self._num_good: int | None = None

    def __len__(self) -> int:
        if self._num_good is None:
            raise TypeError("the number of batches is known once an epoch has been read to its end")
        whole, rest = divmod(self._num_good, self._size)
        return whole + (1 if rest and not self._drop_last else 0)

    def state(self) -> dict[str, int]:
        """Where the loop is, ready for JSON: ``samples.batches(..., **state)`` goes on behind the last batch."""
        epoch, start = self._position
        return {"epoch": epoch, "start": start}

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self._begin
        if self._sizes is None:
            self._sizes = places_of(self._parts)
        order = order_of(self._parts, self._sizes, self._seed, epoch, self._shuffle_rows)
        waiting: list[pa.Table] = []
        count = num_good = 0
        position = start
        walk = _Walk(self._source, self._parts, self._sizes, self._decoder, order, start)
        with closing(walk):
            while position < order.num_rows:
                end = min(position + self._size - count, order.num_rows)
                waiting += walk.rows(position, end)
                count = sum(table.num_rows for table in waiting)
                position = end
                is_last = position == order.num_rows and count and not self._drop_last
                if count == self._size or is_last:
                    self._position = (epoch, position)
                    num_good += count
                    yield self._batch(waiting)
                    waiting, count = [], 0
        if start == 0:
            self._num_good = num_good + count
        self._begin = self._position = (epoch + 1, 0)

    def _batch(self, pieces: Sequence[pa.Table]) -> Batch:
        table = pa.concat_tables(pieces).combine_chunks()
        batch: Batch = {}
        for name, codec in self._decoder.codecs.items():
            values, present = codec.collate(one_chunk(table[name]))
            batch[name], batch[f"{name}_present"] = self._ready(values), self._ready(present)
        batch[KEY] = self._texts(table[KEY].to_pylist())
        if self._decoder.target is not None:
            labels = table[LABEL].to_pylist()
            numbers = self._numbers
            batch[LABEL] = (
                self._texts(labels)
                if numbers is None
                else self._ready(np.array([_number(label, numbers) for label in labels], np.int64))
            )
        return batch

    def _ready(self, values: np.ndarray) -> Any:
        # Arrow's memory is read-only, which torch warns of.
        values = values if values.flags.writeable else values.copy()
        if not self._torch:
            return values
        import torch

        return torch.from_numpy(values)

    def _texts(self, texts: list[str]) -> Any:
        return texts if self._torch else np.array(texts)


class _Walk:
    """Goes through an order, with the windows that it needs in memory."""

    def __init__(
        self,
        source: Tables,
        parts: Sequence[Part],
        sizes: Sequence[int],
        decoder: Decoder,
        order: Order,
        start: int,
    ) -> None:
        self._parts, self._sizes, self._decoder, self._order = parts, sizes, decoder, order
        lanes = range(len(order.taken(0)))
        self._windows = deque(order.windows(lanes, start))
        self._indexes = [index for _, window in self._windows for index in window.parts]
        self._tables = source.tables([parts[index] for index in self._indexes])
        self._opened: list[OpenWindow] = []

    def rows(self, position: int, end: int) -> list[pa.Table]:
        """The good samples of some places."""
        while self._windows and self._windows[0][0] < end:
            _, window = self._windows.popleft()
            opened = [self._open(index) for index in window.parts]
            self._opened.append(OpenWindow(window, opened))
        self._opened.sort(key=lambda each: (each.window.lane, each.end))
        before, after = self._order.taken(position), self._order.taken(end)
        pieces = [
            piece
            for opened in self._opened
            for piece in opened.pieces(before[opened.window.lane], after[opened.window.lane])
        ]
        self._opened = [each for each in self._opened if each.end > after[each.window.lane]]
        return pieces

    def close(self) -> None:
        """Ends the decoding."""
        self._tables.close()

    def _open(self, index: int) -> OpenPart:
        return OpenPart.of(
            self._parts[index], self._sizes[index], next(self._tables), self._decoder
        )


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _number(label: str, numbers: dict[str, int]) -> int:
    if label not in numbers:
        raise ConfigError(
            f"the label {label[:80]!r} is none of the classes",
            where=WHERE,
            fix="name it in classes, or leave the shards out that have it",
        )
    return numbers[label]
