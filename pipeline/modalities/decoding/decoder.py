"""Samples -> one table of decoded values, a row for every sample, good or bad."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pipeline.errors import RunError, SampleError
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec, Verify
from pipeline.modalities.decoding.members import check_json, field_text
from pipeline.modalities.decoding.rows import METADATA_PREFIX, OnBadField, Rows, groups
from pipeline.modalities.decoding.targets import Target, fields_at
from pipeline.modalities.decoding.watch import Care, Watch
from pipeline.modalities.shown import Medium
from pipeline.sample import BASE_SCHEMA, LABEL, Fault, Sample, Tally


@dataclass(frozen=True)
class Decoder:
    """Decodes samples; picklable, built once on the driver and shipped to the decode workers.

    Attributes:
        codecs: Modality -> codec.
        fields: Modality -> extensions; the first that a sample has is decoded.
        metadata: Fields that are checked and carried along as strings.
        target: What is read beside the modalities; None where nothing is.
        target_optional: A sample without a target that can be read keeps a null; otherwise it is bad.
        on_bad_field: Whether a sample with a bad field is left out, or kept without that modality.
        keep_bytes: Whether the raw member at fault is kept for the quarantine.
        limits: What is not read, however good it may be.
        others: Extensions of configured modalities that are not decoded, since no one asks for them. A sample that has
            nothing else is filtered.
        keeps_others: Such a sample is kept, without any of the modalities, rather than filtered.
        media: Modality -> how its members are shown to a person.
        reads: The fields whose content is read; all where None, which is faster where most of a shard is decoded.
    """

    codecs: Mapping[str, Codec]
    fields: Mapping[str, tuple[str, ...]]
    metadata: tuple[str, ...] = ()
    target: Target | None = None
    target_optional: bool = False
    on_bad_field: OnBadField = "quarantine"
    keep_bytes: bool = False
    limits: Limits = field(default_factory=Limits)
    others: frozenset[str] = frozenset()
    keeps_others: bool = False
    media: Mapping[str, Medium] = field(default_factory=dict)
    reads: frozenset[str] | None = None

    @classmethod
    def build(
        cls,
        modalities: ModalitiesConfig,
        tokenizer: str | None,
        *,
        metadata: Iterable[str] = (),
        target: Target | None = None,
        target_optional: bool = False,
        verify: Verify = "full",
        on_bad_field: OnBadField = "quarantine",
        keep_bytes: bool = False,
        limits: Limits | None = None,
    ) -> Decoder:
        """Builds the codecs of the configured modalities."""
        configs = modalities.by_name()
        return cls(
            codecs={
                name: config.codec(tokenizer, verify=verify) for name, config in configs.items()
            },
            fields={name: config.fields for name, config in configs.items()},
            metadata=tuple(metadata),
            target=target,
            target_optional=target_optional,
            on_bad_field=on_bad_field,
            keep_bytes=keep_bytes,
            limits=limits or Limits(),
            media=modalities.media(),
        )

    @classmethod
    def with_codecs(
        cls,
        codecs: Mapping[str, Codec],
        modalities: ModalitiesConfig,
        *,
        keeps_others: bool = False,
        metadata: Iterable[str] = (),
        on_bad_field: OnBadField = "quarantine",
        keep_bytes: bool = False,
        limits: Limits | None = None,
    ) -> Decoder:
        """A decoder with codecs of a model's own, for some of the configured modalities."""
        configs = modalities.by_name()
        unused = (config.fields for name, config in configs.items() if name not in codecs)
        return cls(
            codecs=codecs,
            fields={name: configs[name].fields for name in codecs},
            metadata=tuple(metadata),
            on_bad_field=on_bad_field,
            keep_bytes=keep_bytes,
            limits=limits or Limits(),
            media=modalities.media(),
            others=frozenset(name for fields in unused for name in fields),
            keeps_others=keeps_others,
        )

    def sparing(self) -> Decoder:
        """The same, which leaves the content of fields unread that it does not decode: for a few small ones of many."""
        decoded = (name for fields in self.fields.values() for name in fields)
        target = () if self.target is None else self.target.places
        return replace(self, reads=frozenset(decoded) | fields_at(target) | {*self.metadata})

    @property
    def schema(self) -> pa.Schema:
        """The table's columns: those of every block, the metadata, then the modalities."""
        extra = [pa.field(METADATA_PREFIX + name, pa.string()) for name in self.metadata]
        columns = [codec.column.with_name(name) for name, codec in self.codecs.items()]
        return pa.schema([*BASE_SCHEMA, *extra, *columns])

    def decode(
        self,
        items: Iterable[Sample | Fault],
        part: str,
        watch: Watch | None = None,
        care: Care | None = None,
        tally: Tally | None = None,
    ) -> pa.Table:
        """Decodes the samples of one part.

        Args:
            items: What the reader found.
            part: The part as JSON, carried along in every row.
            watch: Told of every step, for who looks after a decoder that may hang.
            care: What earlier attempts at this part have shown.
            tally: What the reader counts while the items come; it goes into every row, for the ledger. Without a
                reader, the items themselves are counted.

        Returns:
            A table of :attr:`schema`, one row an item; a bad one has ``error`` set and no values.

        Raises:
            RunError: The part was not read to its end, which is a bug.
        """
        rows = Rows(
            self.codecs,
            self.fields,
            self.metadata,
            on_bad_field=self.on_bad_field,
            keep_bytes=self.keep_bytes,
            keeps_empty=self.keeps_others,
            watch=watch,
            care=care,
        )
        amending: list[Fault] = []
        for group in groups(_first_words(items, amending), care.suspects if care else ()):
            rows.add(group, self.check)
            del group  # and its encoded bytes, before the next is read
        rows.amend(amending)
        if tally is not None and not tally.ended:
            raise RunError(
                f"{tally.samples} samples were read, and then no more",
                where=part,
                fix="this is a bug: report it with the log",
            )
        return rows.table(self.schema, part, tally)

    def check(self, sample: Sample) -> tuple[str | None, dict[str, str]]:
        """The target's text and the metadata of a sample that has something to decode.

        Raises:
            SampleError: The sample cannot be used, whatever its modalities hold.
        """
        label = self._label(sample)
        metadata = {
            name: _metadata(sample, name, self.limits.json_depth)
            for name in self.metadata
            if name in sample.fields
        }
        if not any(field in sample.fields for fields in self.fields.values() for field in fields):
            names = ", ".join(sorted(sample.fields))
            if not self.others.isdisjoint(sample.fields):
                if self.keeps_others:
                    return label, metadata
                what = f"no modality that the model takes; there are: {names}"
                raise SampleError(what, reason="filtered_modality", setting="infer.model")
            what = f"none of the configured fields; there are: {names}"
            raise SampleError(what, reason="no_modality", setting="modalities")
        return label, metadata

    def _label(self, sample: Sample) -> str | None:
        if self.target is None:
            return None
        try:
            return self.target.read(sample, self.limits.json_depth)
        except SampleError:
            if self.target_optional:
                return None
            raise


def _first_words(
    items: Iterable[Sample | Fault], amending: list[Fault]
) -> Iterator[Sample | Fault]:
    """The items of which nothing was said before; those that amend go into a list of their own."""
    for item in items:
        if isinstance(item, Fault) and item.amends:
            amending.append(item)
        else:
            yield item


def _metadata(sample: Sample, name: str, json_depth: int) -> str:
    text = field_text(sample.fields[name].data, name, "bad_metadata")
    if name.rpartition(".")[2] == "json":
        check_json(text, name, "bad_metadata", json_depth)
    return text


__all__ = ["LABEL", "METADATA_PREFIX", "Decoder"]
