"""Samples -> one table of decoded values, a row for every sample, good or bad."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec, Item, Verify, dense_to_column
from pipeline.modalities.text.codec import read_text
from pipeline.sample import BASE_SCHEMA, LABEL, Fault, Sample, Source

METADATA_PREFIX = "meta."
GROUP = 64  # members decoded together: bounds what a codec holds besides its results


@dataclass(frozen=True)
class Decoder:
    """Decodes samples; picklable, built once on the driver and shipped to the decode workers.

    Attributes:
        codecs: Modality -> codec.
        fields: Modality -> extensions; the first that a sample has is decoded.
        metadata: Fields that are checked and carried along as strings.
        label: Field of the label, ``json.path`` inside a JSON field, or None where labels play no part.
        classes: Labels that are allowed; any where None.
        label_optional: A sample without a label that can be read keeps a null; otherwise it is bad.
    """

    codecs: Mapping[str, Codec]
    fields: Mapping[str, tuple[str, ...]]
    metadata: tuple[str, ...] = ()
    label: str | None = None
    classes: frozenset[str] | None = None
    label_optional: bool = False

    @classmethod
    def build(
        cls,
        modalities: ModalitiesConfig,
        tokenizer: str | None,
        *,
        metadata: Iterable[str] = (),
        label: str | None = None,
        classes: Iterable[str] | None = None,
        label_optional: bool = False,
        verify: Verify = "full",
    ) -> Decoder:
        """Builds the codecs of the configured modalities."""
        configs = modalities.by_name()
        return cls(
            codecs={name: config.codec(tokenizer, verify=verify) for name, config in configs.items()},
            fields={name: config.fields for name, config in configs.items()},
            metadata=tuple(metadata),
            label=label,
            classes=None if classes is None else frozenset(classes),
            label_optional=label_optional,
        )

    @property
    def schema(self) -> pa.Schema:
        """The table's columns: those of every block, the metadata, then the modalities."""
        extra = [pa.field(METADATA_PREFIX + name, pa.string()) for name in self.metadata]
        return pa.schema([*BASE_SCHEMA, *extra, *(codec.column for codec in self.codecs.values())])

    def decode(self, items: Iterable[Sample | Fault], part: str) -> pa.Table:
        """Decodes the samples of one part.

        Args:
            items: What the reader found.
            part: The part as JSON, carried along in every row.

        Returns:
            A table of :attr:`schema`, one row an item; a bad one has ``error`` set and no values.
        """
        rows = _Rows(self, list(items))
        for name in self.codecs:
            rows.decode(name)
        return rows.table(part)

    def check(self, sample: Sample) -> tuple[str | None, dict[str, str]]:
        """Label and metadata of a sample that has something to decode.

        Raises:
            SampleError: The sample cannot be used, whatever its modalities hold.
        """
        label = self._label(sample)
        if label is not None and self.classes is not None and label not in self.classes:
            what = f"the label {label[:80]!r} is not one of the classes"
            raise SampleError(what, reason="unknown_label", field=self.label or "")
        metadata = {
            name: _metadata(sample, name) for name in self.metadata if name in sample.fields
        }
        if not any(field in sample.fields for fields in self.fields.values() for field in fields):
            there = ", ".join(sorted(sample.fields))
            what = f"none of the configured fields; there are: {there}"
            raise SampleError(what, reason="no_modality")
        return label, metadata

    def _label(self, sample: Sample) -> str | None:
        if self.label is None:
            return None
        try:
            return read_label(sample, self.label)
        except SampleError:
            if self.label_optional:
                return None
            raise


class _Rows:
    """The rows of one part while they are decoded, one modality after the other."""

    def __init__(self, decoder: Decoder, items: list[Sample | Fault]) -> None:
        self.decoder = decoder
        self.items = items
        self.faults: list[Fault | None] = [None] * len(items)
        self.labels: list[str | None] = [None] * len(items)
        self.metadata: dict[str, list[str | None]] = {
            name: [None] * len(items) for name in decoder.metadata
        }
        self.blocks: dict[str, np.ndarray | None] = {}
        self.values: dict[str, list[np.ndarray | None]] = {}
        for row, item in enumerate(items):
            if isinstance(item, Fault):
                self.faults[row] = item
                continue
            try:
                self.labels[row], found = decoder.check(item)
            except SampleError as error:
                self.faults[row] = _fault(item, error)
                continue
            for name, text in found.items():
                self.metadata[name][row] = text

    def decode(self, name: str) -> None:
        """Decodes one modality of all rows that are good so far, some at a time."""
        codec = self.decoder.codecs[name]
        block = self.blocks[name] = codec.empty(len(self.items))
        values: list[np.ndarray | None] = [None] * len(self.items)
        self.values[name] = values
        for group in _groups(self._members(name)):
            members = [item for _, item in group]
            out = None if block is None else [block[row] for row, _ in group]
            for (row, _), value in zip(group, codec.decode_batch(members, out), strict=True):
                if isinstance(value, SampleError):
                    self.faults[row] = _fault(self.items[row], value)
                else:
                    values[row] = value

    def _members(self, name: str) -> Iterator[tuple[int, Item]]:
        fields = self.decoder.fields[name]
        for row, item in enumerate(self.items):
            if self.faults[row] is None and isinstance(item, Sample):
                found = next((field for field in fields if field in item.fields), None)
                if found is not None:
                    yield row, Item(item.fields[found].data, found)

    def table(self, part: str) -> pa.Table:
        """The rows; one that is bad has no label, metadata or values."""
        count = len(self.items)
        bad = [row for row, fault in enumerate(self.faults) if fault is not None]
        optional: list[list[Any]] = [self.labels, *self.metadata.values(), *self.values.values()]
        for values in optional:
            for row in bad:
                values[row] = None
        sources = [_source(item) for item in self.items]
        columns = {
            "key": [source.key for source in sources],
            "shard": [source.shard for source in sources],
            "ordinal": [item.ordinal for item in self.items],
            "part": [part] * count,
            "part_rows": [count] * count,
            "modalities": [
                [name for name, values in self.values.items() if values[row] is not None]
                for row in range(count)
            ],
            "label": self.labels,
            "error": [fault and _error(fault) for fault in self.faults],
            **{METADATA_PREFIX + name: texts for name, texts in self.metadata.items()},
        }
        schema = self.decoder.schema
        return pa.Table.from_arrays(
            [
                self._column(column)
                if column.name in self.values
                else pa.array(columns[column.name], type=column.type)
                for column in schema
            ],
            schema=schema,
        )

    def _column(self, column: pa.Field) -> pa.Array:
        values, block = self.values[column.name], self.blocks[column.name]
        if block is None:
            return self.decoder.codecs[column.name].to_arrow(values)
        missing = np.fromiter((value is None for value in values), bool, len(values))
        block[missing] = 0
        return dense_to_column(block, missing, column)


def read_label(sample: Sample, label: str) -> str:
    """Reads a sample's label: the text of a field, or a value inside a JSON field.

    Args:
        sample: The sample.
        label: ``cls``, or a path such as ``json.person.age``.

    Raises:
        SampleError: The label is missing or not a single value.
    """
    name, _, path = label.partition(".")
    if name not in sample.fields:
        raise SampleError("the sample has no label", reason="missing_label", field=name)
    data = sample.fields[name].data
    if not path:
        text = _strict_text(data, name, "bad_label").strip()
        if not text:
            raise SampleError("the label is empty", reason="bad_label", field=name)
        return text
    value = _strict_json(data, name, "bad_label")
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            raise SampleError(f"no {path} in the JSON", reason="missing_label", field=name)
        value = value[step]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SampleError(f"{path} is not a text or a number", reason="bad_label", field=name)
    return str(value)


def _metadata(sample: Sample, name: str) -> str:
    data = sample.fields[name].data
    if name.rpartition(".")[2] == "json":
        _strict_json(data, name, "bad_metadata")
    return _strict_text(data, name, "bad_metadata")


def _strict_text(data: memoryview, name: str, reason: str) -> str:
    try:
        return read_text(data, name)
    except SampleError as error:
        raise SampleError(error.what, reason=reason, field=name) from None


def _strict_json(data: memoryview, name: str, reason: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(_strict_text(data, name, reason), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise SampleError(f"not JSON: {error}"[:200], reason=reason, field=name) from None


def _fault(item: Sample | Fault, error: SampleError) -> Fault:
    source = _source(item)
    found = item.fields.get(error.field) if isinstance(item, Sample) else None
    where = Source(
        source.shard,
        source.key,
        error.field or None,
        found.offset if found else None,
        found.size if found else None,
    )
    return Fault(where, item.ordinal, error.reason, error.what)


def _groups(members: Iterator[tuple[int, Item]]) -> Iterator[list[tuple[int, Item]]]:
    while group := list(islice(members, GROUP)):
        yield group


def _source(item: Sample | Fault) -> Source:
    return item.source if isinstance(item, Fault) else Source(item.shard, item.key)


def _error(fault: Fault) -> dict[str, Any]:
    return {
        "field": fault.source.field,
        "reason": fault.reason,
        "detail": fault.detail,
        "offset": fault.source.offset,
        "size": fault.source.size,
    }


__all__ = ["LABEL", "METADATA_PREFIX", "Decoder", "read_label"]
