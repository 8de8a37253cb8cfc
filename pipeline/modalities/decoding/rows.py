"""The rows of one part while they are decoded: a group of samples at a time, one modality after the other."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.limits import ON_BAD_FIELD
from pipeline.modalities.base import Codec, Item
from pipeline.modalities.decoding.naming import under_name
from pipeline.modalities.decoding.values import NOTHING, Values
from pipeline.modalities.decoding.watch import CHECKS, Care, Unwatched, Watch
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
    PART_SAMPLES,
    PART_STRAYS,
    REMARKS,
    SHARD,
    Fault,
    Sample,
    Source,
    Tally,
)

METADATA_PREFIX = "meta."
GROUP_SAMPLES = 64  # decoded together
GROUP_BYTES = 16 << 20  # of encoded members at which a group is full, however few they are

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


@dataclass
class _Row:
    """What becomes of one item of a group.

    Attributes:
        item: What the reader found.
        fault: Why it is left out.
        label: Of a sample.
        metadata: Of a sample.
        present: Modalities that were decoded.
        dropped: Fields that it is kept without.
        remarks: What is odd about its fields.
    """

    item: Sample | Fault
    fault: Fault | None = None
    label: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    present: list[str] = field(default_factory=list)
    dropped: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)

    @property
    def sample(self) -> Sample | None:
        """What is to be decoded; None once it is left out."""
        return self.item if self.fault is None and isinstance(self.item, Sample) else None


def setting_of(
    error: SampleError,
    modality: str,
    present: Container[str],
    fields: Mapping[str, tuple[str, ...]],
) -> str:
    """The setting that would let a sample through: its fault's own, or the one that does without a bad modality.

    Args:
        error: The fault.
        modality: What was decoded; empty where it was label or metadata.
        present: Fields of the sample.
        fields: Modality -> extensions.
    """
    if error.setting or not modality:
        return error.setting
    alternatives = (
        name for neighbour, names in fields.items() if neighbour != modality for name in names
    )
    return ON_BAD_FIELD if any(name in present for name in alternatives) else ""


class Rows:
    """Collects the rows of one part.

    Args:
        codecs: Modality -> codec.
        fields: Modality -> extensions; the first that a sample has is decoded.
        metadata: Fields that are carried along.
        on_bad_field: Whether a sample with a bad field is left out, or kept without that modality.
        keep_bytes: Whether the raw member at fault is kept.
        keeps_empty: Whether a sample without any of the modalities is good.
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
        keeps_empty: bool = False,
        watch: Watch | None = None,
        care: Care | None = None,
    ) -> None:
        self._fields = fields
        self._drop = on_bad_field == "drop"
        self._keep_bytes, self._keeps_empty = keep_bytes, keeps_empty
        self._watch = watch or Unwatched()
        self._condemned = care.condemned if care else {}
        self._values = {name: Values(codec, self._watch) for name, codec in codecs.items()}
        self._base: dict[str, list[Any]] = {
            name: [] for name in (KEY, SHARD, ORDINAL, MODALITIES, LABEL, ERROR, DROPPED, REMARKS)
        }
        self._base |= {METADATA_PREFIX + name: [] for name in metadata}

    def add(self, group: Sequence[Sample | Fault], check: Check) -> None:
        """Decodes a group.

        Args:
            group: What the reader found.
            check: Gives a sample's label and metadata, or refuses it with a SampleError before it is decoded.
        """
        first, last = group[0].ordinal, group[-1].ordinal
        self._watch.begins(CHECKS, first, last)
        rows = [self._checked(item, check) for item in group]
        for name, values in self._values.items():
            members, refused = self._members(name, rows)
            self._watch.begins(name, first, last)
            refusals, noted = values.decode(len(group), members)
            for number, (_, reason, detail) in noted.items():
                remark = SampleError(detail, reason=reason, field=members[number].field)
                rows[number].remarks.append(self._fault(rows[number].item, remark, bare=True))
            for number, refusal in (refused | refusals).items():
                self._refuse(rows[number], refusal, name)
            for number, row in enumerate(rows):
                if row.sample and values.has(number):
                    row.present.append(name)
        self._watch.rests()
        for number, row in enumerate(rows):
            if row.fault is None and not row.present and (row.dropped or not self._keeps_empty):
                # Nothing is left of it.
                row.fault = row.dropped[0] if row.dropped else self._fault(row.item, NOTHING)
            if row.fault is not None:
                for values in self._values.values():
                    values.drop(number)
            self._append(row)

    def _checked(self, item: Sample | Fault, check: Check) -> _Row:
        """A sample that is to be decoded, or why it is not."""
        if isinstance(item, Fault):
            return _Row(item, item)
        row = _Row(item)
        try:
            self._watch.ticks()
            self._refuse_condemned(item, CHECKS)
            row.label, row.metadata = check(item)
        except SampleError as error:
            row.fault = self._fault(item, error)
        return row

    def _refuse(self, row: _Row, refusal: SampleError, modality: str) -> None:
        """Leaves out a sample with a field that was refused, or that field."""
        fault = self._fault(row.item, under_name(refusal, modality), modality)
        if self._drop and refusal.reason not in FILTERS:
            row.dropped.append(fault)
        else:
            row.fault = fault

    def amend(self, faults: Sequence[Fault]) -> None:
        """Makes rows bad ones, whatever they were, when all are there."""
        keys = enumerate(self._base[KEY])
        rows = {self._base[ORDINAL][row]: row for row, key in keys if faults and key is not None}
        for fault in faults:
            bad = {MODALITIES: [], ERROR: fault.to_row(), DROPPED: [], REMARKS: []}
            for values in self._values.values():
                values.drop_row(rows[fault.ordinal])
            for name in self._base.keys() - {KEY, SHARD, ORDINAL}:
                self._base[name][rows[fault.ordinal]] = bad.get(name)

    def _members(
        self, name: str, rows: Sequence[_Row]
    ) -> tuple[dict[int, Item], dict[int, SampleError]]:
        """What is to be decoded, and what is not decoded again."""
        members, refused = {}, {}
        for number, row in enumerate(rows):
            sample = row.sample
            if sample is None:
                continue
            used = next((field for field in self._fields[name] if field in sample.fields), None)
            if used is None:
                continue
            try:
                self._refuse_condemned(sample, name, used)
                members[number] = Item(sample.fields[used].data, used)
            except SampleError as error:
                refused[number] = error
        return members, refused

    def _refuse_condemned(self, sample: Sample, modality: str, field: str = "") -> None:
        for verdict in self._condemned.get(sample.ordinal, ()):
            if verdict.modality == modality:
                raise verdict.error(field)

    def _fault(
        self, sample: Sample | Fault, error: SampleError, modality: str = "", *, bare: bool = False
    ) -> Fault:
        """The row of the quarantine; ``bare`` where the member is not to be kept in it."""
        if isinstance(sample, Fault):
            return sample
        member = sample.fields.get(error.field)
        where = Source(
            sample.shard,
            sample.key,
            error.field or None,
            member.offset if member else None,
            member.size if member else None,
        )
        data = bytes(member.data) if member and self._keep_bytes and not bare else None
        setting = setting_of(error, modality, sample.fields, self._fields)
        return Fault(where, sample.ordinal, error.reason, error.what, setting, data)

    def _append(self, row: _Row) -> None:
        item, good = row.item, row.fault is None
        source = item.source if isinstance(item, Fault) else Source(item.shard, item.key)
        base = {
            KEY: source.key,
            SHARD: source.shard,
            ORDINAL: item.ordinal,
            MODALITIES: row.present if good else [],
            LABEL: row.label if good else None,
            ERROR: row.fault.to_row() if row.fault else None,
            DROPPED: [fault.to_row() for fault in row.dropped if good],
            REMARKS: [fault.to_row() for fault in row.remarks if good],
        }
        base |= {METADATA_PREFIX + name: value for name, value in row.metadata.items() if good}
        for name, column in self._base.items():
            column.append(base.get(name))

    def table(self, schema: pa.Schema, part: str, tally: Tally | None = None) -> pa.Table:
        """All rows of a part, given as JSON, with what the reader has counted; a bad one has no label and no values."""
        count = len(self._base[KEY])
        if tally is None:
            damages = self._base[KEY].count(None)
            tally = Tally(count - damages, damages)
        same = {
            PART: part,
            PART_ROWS: tally.samples + tally.damages,
            PART_SAMPLES: tally.samples,
            PART_STRAYS: tally.strays.total(),
        }
        columns = []
        for column in schema:
            if column.name in self._values:
                columns.append(self._values[column.name].array())
            elif column.name in same:
                columns.append(pa.repeat(pa.scalar(same[column.name], column.type), count))
            else:
                columns.append(pa.array(self._base[column.name], type=column.type))
        return pa.Table.from_arrays(columns, schema=schema)
