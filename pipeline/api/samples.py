"""Samples of shards in this process, one at a time or in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.api.batches import Batches, one_chunk
from pipeline.engine.executors.here import HereExecutor
from pipeline.modalities.decoding.decoder import METADATA_PREFIX, Decoder
from pipeline.sample import ERROR, KEY, LABEL, OUTCOME, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import quarantine_rows

ROWS_AT_A_TIME = 64


@dataclass(frozen=True, eq=False)
class Sample:
    """A decoded sample.

    Attributes:
        key: Its name in its shard.
        shard: Its shard.
        label: Its label; None where none is read.
        arrays: Modality -> its value, of the modality's own shape and dtype; None where the sample lacks it.
        metadata: Field -> its text, of the fields that it has.
    """

    key: str
    shard: str
    label: str | None
    arrays: Mapping[str, np.ndarray | None]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray | None:
        return self.arrays[name]


@dataclass(frozen=True)
class BadSample:
    """A row of the quarantine.

    Attributes:
        shard: The shard.
        key: Of the sample; None for damage to the shard itself.
        field: That is at fault, where one is.
        reason: A word of the vocabulary of reasons.
        detail: What is wrong, in words.
        setting: That would let the sample through, where there is one, by its path in the configuration.
        outcome: ``quarantined``, ``filtered``, ``field dropped`` or ``noted``; with the last two the sample is used.
    """

    shard: str
    key: str | None
    field: str | None
    reason: str
    detail: str
    setting: str | None
    outcome: str


class Samples:
    """The good samples of shards, in the shards' order; those that are bad are set aside in :attr:`quarantine`.

    Every iteration decodes anew, on all cores, in processes beside this one that end with the iteration: when it is
    over, when it is given up, and on Ctrl-C. Made by :func:`pipeline.read`.

    Args:
        parts: Of the shards.
        decoder: How they are decoded.
        tokenizer: JSON of the tokenizer of texts.
        num_cpus: Cores to decode on; all where None.

    Attributes:
        parts: Of the shards.
        tokenizer: JSON of the tokenizer of texts; None where there is none.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        decoder: Decoder,
        *,
        tokenizer: str | None = None,
        num_cpus: int | None = None,
    ) -> None:
        self._decoder, self._num_cpus = decoder, num_cpus
        self.parts = parts
        self._bad: dict[str, list[BadSample]] = {}
        self.tokenizer = tokenizer

    def __iter__(self) -> Iterator[Sample]:
        with closing(self.tables(self.parts)) as tables:
            for table in tables:
                good = table.filter(table[ERROR].is_null())
                del table
                for first in range(0, good.num_rows, ROWS_AT_A_TIME):
                    yield from self._samples(good.slice(first, ROWS_AT_A_TIME).combine_chunks())

    def batches(
        self,
        size: int,
        *,
        torch: bool = False,
        shuffle: int | None = None,
        drop_last: bool = False,
        epoch: int = 0,
        start: int = 0,
        classes: Sequence[str] | None = None,
        shuffle_rows: int = 4096,
    ) -> Batches:
        """The samples in batches, for a loop of one's own; see :class:`pipeline.api.batches.Batches`.

        Args:
            size: Samples of a batch; the last may have fewer.
            torch: Gives tensors in place of arrays.
            shuffle: Seed of the order, which depends on it, the epoch and the shards. None keeps the shards' order.
            drop_last: Leaves out a last batch that has fewer.
            epoch: The first one's number.
            start: Where in it to begin, as :meth:`pipeline.api.batches.Batches.state` says.
            classes: Gives labels as numbers: their places among these.
            shuffle_rows: Samples that are shuffled among, at least.
        """
        return Batches(
            self,
            self.parts,
            self._decoder,
            size,
            torch=torch,
            seed=_seed(shuffle),
            drop_last=drop_last,
            epoch=epoch,
            start=start,
            classes=classes,
            shuffle_rows=shuffle_rows,
        )

    @property
    def quarantine(self) -> list[BadSample]:
        """What is bad in the shards that were read so far, each once however often they were read."""
        return [bad for part in self.parts for bad in self._bad.get(part.id, ())]

    @property
    def handling(self) -> dict[str, Any]:
        """How bad samples are treated and what is carried along, as arguments of ``Decoder.build``."""
        decoder = self._decoder
        return {
            "metadata": decoder.metadata,
            "on_bad_field": decoder.on_bad_field,
            "limits": decoder.limits,
        }

    def decoded_by(self, decoder: Decoder) -> Samples:
        """The samples of the same shards, decoded in another way."""
        return Samples(self.parts, decoder, num_cpus=self._num_cpus)

    def tables(self, parts: Sequence[Part]) -> Generator[pa.Table, None, None]:
        """Decoded parts in their order, with a row for every sample, good or bad; some are decoded ahead."""
        with (
            HereExecutor(self._num_cpus) as executor,
            closing(executor.in_order(parts, self._decoder)) as tables,
        ):
            for part, table in zip(parts, tables, strict=True):
                self._bad[part.id] = bad_samples(table)
                yield table
                del table

    def _samples(self, table: pa.Table) -> Iterator[Sample]:
        """The rows of a small table, each with memory of its own."""
        columns = {
            name: codec.collate(one_chunk(table[name]))
            for name, codec in self._decoder.codecs.items()
        }
        texts = {name: table[METADATA_PREFIX + name].to_pylist() for name in self._decoder.metadata}
        keys, shards, labels = (table[name].to_pylist() for name in (KEY, SHARD, LABEL))
        for row, (key, shard, label) in enumerate(zip(keys, shards, labels, strict=True)):
            arrays = {
                name: column.values[row].copy() if column.present[row] else None
                for name, column in columns.items()
            }
            metadata = {
                name: column[row] for name, column in texts.items() if column[row] is not None
            }
            yield Sample(key, shard, label, arrays, metadata)


def bad_samples(table: pa.Table) -> list[BadSample]:
    """What is bad in a decoded part."""
    names = [SHARD, KEY, "field", "reason", "detail", "setting", OUTCOME]
    return [_bad_sample(row) for row in quarantine_rows(table).select(names).to_pylist()]


def _bad_sample(row: Mapping[str, str | None]) -> BadSample:
    return BadSample(
        shard=row[SHARD] or "",
        key=row[KEY],
        field=row["field"],
        reason=row["reason"] or "",
        detail=row["detail"] or "",
        setting=row["setting"] or None,
        outcome=row[OUTCOME] or "",
    )


def _seed(shuffle: int | None) -> int | None:
    """The seed that is meant: who comes from other loaders says False or True."""
    if isinstance(shuffle, bool):
        return 0 if shuffle else None
    return shuffle
