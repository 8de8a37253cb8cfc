"""The rows of one part while they are decoded: a group of samples at a time, one modality after the other."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities.base import Codec, Item, dense_to_column
from pipeline.modalities.watch import CHECKS, Care, Ticking, Unwatched, Watch
from pipeline.sample import (
    DROPPED,
    ERROR,
    FILTERS,
    KEY,
    LABEL,
    MODALITIES,
    ORDINAL,
    PART,
    PART_ROWS,
    SHARD,
    Fault,
    Sample,
    Source,
)

METADATA_PREFIX = "meta."
GROUP_SAMPLES = 64  # decoded together
GROUP_BYTES = 16 << 20  # of encoded members at which a group is full, however few they are
FIRST_ROWS = 256  # that there is room for at first; what is not written to takes no memory

Check = Callable[[Sample], tuple[str | None, Mapping[str, str]]]
OnBadField = Literal["quarantine", "drop"]


def groups(
    items: Iterable[Sample | Fault], alone: Container[int] = ()
) -> Iterator[list[Sample | Fault]]:
    """Cuts what a reader finds into groups, so that a part's encoded bytes are never held all at once.

    Args:
        items: Of one part.
        alone: Ordinals of samples that are a group of their own.
    """
    group: list[Sample | Fault] = []
    held = 0
    for item in items:
        if alone and group and (item.ordinal in alone or group[-1].ordinal in alone):
            yield group
            group, held = [], 0
        group.append(item)
        if isinstance(item, Sample):
            held += sum(member.size for member in item.fields.values())
        if len(group) == GROUP_SAMPLES or held >= GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


class Rows:
    """Collects the rows of one part.

    Args:
        codecs: Modality -> codec.
        fields: Modality -> extensions; the first that a sample has is decoded.
        metadata: Fields that are carried along.
        on_bad_field: Whether a sample with a bad field is left out, or kept without that modality.
        keep_bytes: Whether the raw member at fault is kept.
        watch: Told of every step.
        care: What is not decoded again.
    """

    def __init__(
        self,
        codecs: Mapping[str, Codec],
        fields: Mapping[str, tuple[str, ...]],
        metadata: Sequence[str],
        *,
        on_bad_field: OnBadField = "quarantine",
        keep_bytes: bool = False,
        watch: Watch | None = None,
        care: Care | None = None,
    ) -> None:
        self._fields = fields
        self._drop = on_bad_field == "drop"
        self._keep_bytes = keep_bytes
        self._watch = watch or Unwatched()
        self._condemned = care.condemned if care else {}
        self._values = {name: _Values(codec, self._watch) for name, codec in codecs.items()}
        self._base: dict[str, list[Any]] = {
            name: [] for name in (KEY, SHARD, ORDINAL, MODALITIES, LABEL, ERROR, DROPPED)
        }
        self._base |= {METADATA_PREFIX + name: [] for name in metadata}

    def add(self, group: Sequence[Sample | Fault], check: Check) -> None:
        """Decodes a group.

        Args:
            group: What the reader found.
            check: Gives a sample's label and metadata, or refuses it with a SampleError before it is decoded.
        """
        faults: dict[int, Fault] = {}
        checked: dict[int, tuple[str | None, Mapping[str, str]]] = {}
        samples: dict[int, Sample] = {}
        first, last = group[0].ordinal, group[-1].ordinal
        self._watch.begins(CHECKS, first, last)
        for row, item in enumerate(group):
            if isinstance(item, Fault):
                faults[row] = item
                continue
            try:
                self._watch.ticks()
                self._refuse_condemned(item, CHECKS)
                checked[row], samples[row] = check(item), item
            except SampleError as error:
                faults[row] = self._fault(item, error)
        present: dict[int, list[str]] = {row: [] for row in samples}
        dropped: dict[int, list[Fault]] = {}
        for name, values in self._values.items():
            members, refused = self._members(name, samples)
            self._watch.begins(name, first, last)
            refused |= values.decode(len(group), members)
            for row, refusal in refused.items():
                fault = self._fault(samples[row], refusal)
                if self._drop and refusal.reason not in FILTERS:
                    dropped.setdefault(row, []).append(fault)
                else:
                    faults[row] = fault
                    del samples[row]
            for row in samples:
                if values.has(row):
                    present[row].append(name)
        self._watch.rests()
        for row, missing in dropped.items():
            if row in samples and not present[row]:
                faults[row] = missing[0]  # nothing is left of it
        for values in self._values.values():
            for row in faults:
                values.drop(row)
        for row, item in enumerate(group):
            without = [] if row in faults else dropped.get(row, [])
            self._append(item, faults.get(row), present.get(row, []), checked.get(row), without)

    def _members(
        self, name: str, samples: Mapping[int, Sample]
    ) -> tuple[dict[int, Item], dict[int, SampleError]]:
        """What is to be decoded, and what is not decoded again."""
        members, refused = {}, {}
        for row, sample in samples.items():
            found = next((field for field in self._fields[name] if field in sample.fields), None)
            if found is None:
                continue
            try:
                self._refuse_condemned(sample, name, found)
                members[row] = Item(sample.fields[found].data, found)
            except SampleError as error:
                refused[row] = error
        return members, refused

    def _refuse_condemned(self, sample: Sample, modality: str, field: str = "") -> None:
        for verdict in self._condemned.get(sample.ordinal, ()):
            if verdict.modality == modality:
                raise SampleError(verdict.detail, reason=verdict.reason, field=field)

    def _fault(self, sample: Sample, error: SampleError) -> Fault:
        found = sample.fields.get(error.field)
        where = Source(
            sample.shard,
            sample.key,
            error.field or None,
            found.offset if found else None,
            found.size if found else None,
        )
        data = bytes(found.data) if found and self._keep_bytes else None
        return Fault(where, sample.ordinal, error.reason, error.what, data)

    def _append(
        self,
        item: Sample | Fault,
        fault: Fault | None,
        modalities: list[str],
        checked: tuple[str | None, Mapping[str, str]] | None,
        dropped: Sequence[Fault],
    ) -> None:
        source = item.source if isinstance(item, Fault) else Source(item.shard, item.key)
        label, metadata = checked if checked and not fault else (None, {})
        row = {
            KEY: source.key,
            SHARD: source.shard,
            ORDINAL: item.ordinal,
            MODALITIES: [] if fault else modalities,
            LABEL: label,
            ERROR: _error(fault) if fault else None,
            DROPPED: [_error(each) for each in dropped],
        }
        for name, column in self._base.items():
            column.append(
                row[name] if name in row else metadata.get(name.removeprefix(METADATA_PREFIX))
            )

    def table(self, schema: pa.Schema, part: str) -> pa.Table:
        """All rows; one that is bad has no label, metadata or values."""
        count = len(self._base[KEY])
        same = {PART: part, PART_ROWS: count}
        columns = []
        for column in schema:
            if column.name in self._values:
                columns.append(self._values[column.name].array())
            elif column.name in same:
                columns.append(pa.repeat(pa.scalar(same[column.name], column.type), count))
            else:
                columns.append(pa.array(self._base[column.name], type=column.type))
        return pa.Table.from_arrays(columns, schema=schema)


class _Values:
    """The values of one modality, in one block where they have one shape."""

    def __init__(self, codec: Codec, watch: Watch) -> None:
        self._codec = codec
        self._watch = watch
        like = codec.empty(0)
        self._block = (
            None if like is None else watch.room((FIRST_ROWS, *like.shape[1:]), like.dtype)
        )
        self._lists: list[np.ndarray | None] = []  # where they differ in size
        self._present: list[bool] = []
        self._first = 0  # row of the group's first sample

    def decode(self, count: int, members: Mapping[int, Item]) -> dict[int, SampleError]:
        """Decodes the members of the next ``count`` rows; returns the rows that were refused, and why."""
        self._first = len(self._present)
        self._present += [False] * count
        out = None
        if self._block is None:
            self._lists += [None] * count
        else:
            self._block = block = self._room(self._block)
            out = [block[self._first + row] for row in members]
        refused = {}
        results = self._codec.decode_batch(Ticking(list(members.values()), self._watch), out)
        for row, value in zip(members, results, strict=True):
            if isinstance(value, SampleError):
                refused[row] = value
                continue
            self._present[self._first + row] = True
            if out is None:
                self._lists[self._first + row] = value
        return refused

    def _room(self, block: np.ndarray) -> np.ndarray:
        """The block, or a larger one with what is in it."""
        if len(self._present) <= len(block):
            return block
        rows = max(2 * len(block), len(self._present))
        larger = self._watch.room((rows, *block.shape[1:]), block.dtype)
        larger[: self._first] = block[: self._first]
        return larger

    def has(self, row: int) -> bool:
        """Whether a row of the group has a value."""
        return self._present[self._first + row]

    def drop(self, row: int) -> None:
        """Takes a row of the group its value."""
        self._present[self._first + row] = False

    def array(self) -> pa.Array:
        """The column."""
        missing = ~np.array(self._present, dtype=bool)
        if self._block is None:
            pairs = zip(self._lists, self._present, strict=True)
            return self._codec.to_arrow([value if there else None for value, there in pairs])
        block = self._block[: len(missing)]
        block[missing] = 0
        return dense_to_column(block, missing, self._codec.column)


def _error(fault: Fault) -> dict[str, Any]:
    return {
        "field": fault.source.field,
        "reason": fault.reason,
        "detail": fault.detail,
        "offset": fault.source.offset,
        "size": fault.source.size,
        "bytes": fault.data,
    }
