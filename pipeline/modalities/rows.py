"""The rows of one part while they are decoded: a group of samples at a time, one modality after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities.base import Codec, Item, dense_to_column
from pipeline.sample import Fault, Sample, Source

METADATA_PREFIX = "meta."
GROUP_SAMPLES = 64  # decoded together
GROUP_BYTES = 16 << 20  # of encoded members at which a group is full, however few they are
FIRST_ROWS = 256  # that there is room for at first; what is not written to takes no memory

Check = Callable[[Sample], tuple[str | None, Mapping[str, str]]]


def groups(items: Iterable[Sample | Fault]) -> Iterator[list[Sample | Fault]]:
    """Cuts what a reader finds into groups, so that a part's encoded bytes are never held all at once."""
    group: list[Sample | Fault] = []
    held = 0
    for item in items:
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
    """

    def __init__(
        self,
        codecs: Mapping[str, Codec],
        fields: Mapping[str, tuple[str, ...]],
        metadata: Sequence[str],
    ) -> None:
        self._fields = fields
        self._values = {name: _Values(codec) for name, codec in codecs.items()}
        self._base: dict[str, list[Any]] = {
            name: [] for name in ("key", "shard", "ordinal", "modalities", "label", "error")
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
        for row, item in enumerate(group):
            if isinstance(item, Fault):
                faults[row] = item
                continue
            try:
                checked[row], samples[row] = check(item), item
            except SampleError as error:
                faults[row] = _fault(item, error)
        present: dict[int, list[str]] = {row: [] for row in samples}
        for name, values in self._values.items():
            refused = values.decode(len(group), self._members(name, samples))
            for row, refusal in refused.items():
                faults[row] = _fault(samples.pop(row), refusal)
            for row in samples:
                if values.has(row):
                    present[row].append(name)
        for values in self._values.values():
            for row in faults:
                values.drop(row)
        for row, item in enumerate(group):
            self._append(item, faults.get(row), present.get(row, []), checked.get(row))

    def _members(self, name: str, samples: Mapping[int, Sample]) -> dict[int, Item]:
        members = {}
        for row, sample in samples.items():
            found = next((field for field in self._fields[name] if field in sample.fields), None)
            if found is not None:
                members[row] = Item(sample.fields[found].data, found)
        return members

    def _append(
        self,
        item: Sample | Fault,
        fault: Fault | None,
        modalities: list[str],
        checked: tuple[str | None, Mapping[str, str]] | None,
    ) -> None:
        source = item.source if isinstance(item, Fault) else Source(item.shard, item.key)
        label, metadata = checked if checked and not fault else (None, {})
        row = {
            "key": source.key,
            "shard": source.shard,
            "ordinal": item.ordinal,
            "modalities": [] if fault else modalities,
            "label": label,
            "error": _error(fault) if fault else None,
        }
        for name, column in self._base.items():
            column.append(
                row[name] if name in row else metadata.get(name.removeprefix(METADATA_PREFIX))
            )

    def table(self, schema: pa.Schema, part: str) -> pa.Table:
        """All rows; one that is bad has no label, metadata or values."""
        count = len(self._base["key"])
        same = {"part": part, "part_rows": count}
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

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._block = codec.empty(FIRST_ROWS)
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
        results = self._codec.decode_batch(list(members.values()), out)
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
        larger = self._codec.empty(max(2 * len(block), len(self._present)))
        if larger is None:
            raise TypeError(f"{type(self._codec).__name__} has one shape, and then none")
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


def _fault(sample: Sample, error: SampleError) -> Fault:
    found = sample.fields.get(error.field)
    where = Source(
        sample.shard,
        sample.key,
        error.field or None,
        found.offset if found else None,
        found.size if found else None,
    )
    return Fault(where, sample.ordinal, error.reason, error.what)


def _error(fault: Fault) -> dict[str, Any]:
    return {
        "field": fault.source.field,
        "reason": fault.reason,
        "detail": fault.detail,
        "offset": fault.source.offset,
        "size": fault.source.size,
    }
