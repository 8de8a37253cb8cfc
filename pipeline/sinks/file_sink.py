"""Files that hold each sample once: parts are committed alone, then merged into the snapshot.

A part's data lies in ``_parts/``, its bad samples in ``_quarantine/``, and its record, written last and once, in
``_commit/``: what has no record is still to do. The names of the files tell of their content, and the record names
them: whatever else was left behind, by a job that was killed or by one that does not know that it was, is never
looked at. Bad samples that are tried again have files and a record of their own, numbered after the part's. The
snapshot is the files of ``_manifest.json``, which is replaced last of all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import pyarrow as pa

from pipeline import storage
from pipeline.metrics.columns import Sums
from pipeline.sample import ERROR, PART, QUARANTINE_SCHEMA
from pipeline.shards.planning.plan import Part
from pipeline.sinks.files.base import write_part
from pipeline.sinks.files.parquet import ParquetFiles
from pipeline.sinks.folder import PARTS, QUARANTINE, attempt_name, part_of
from pipeline.sinks.ledger import PartResult, ledger
from pipeline.sinks.output import Output
from pipeline.sinks.provenance import identity_digest
from pipeline.sinks.quarantine import as_quarantine, bad_ordinals, quarantine_rows
from pipeline.sinks.records import Book, PartFile, Record, Records
from pipeline.sinks.retries import with_earlier
from pipeline.sinks.snapshots.manifest import read_manifest
from pipeline.sinks.snapshots.merge import places
from pipeline.sinks.snapshots.settings import SnapshotSettings
from pipeline.sinks.snapshots.snapshot import Each, Snapshot

RECORDS_AT_A_TIME = 1024  # held in memory while their sums are added


@dataclass(frozen=True)
class FileSink(Output, ABC):
    """Writes one output folder; those that follow say what a row is.

    Attributes:
        config: Sizes of files, and how rows lie in them.
    """

    config: SnapshotSettings = field(kw_only=True)

    @classmethod
    def of(cls, output: Output, settings: SnapshotSettings) -> Self:
        """The sink of an output that a job describes."""
        return cls(**vars(output), config=settings)

    @abstractmethod
    def rows(self, good: pa.Table, part: Part) -> pa.Table:
        """What is written of good samples, in the order of :attr:`order`.

        Args:
            good: Their rows, as decoding and the model have made them.
            part: What they are of.
        """

    def check(self, parts: Sequence[Part] | None = None) -> None:
        """See :class:`pipeline.sinks.base.Sink`."""
        done = {record.part for record in self.recorded()}
        done |= Records(self.folder).attempts().keys()
        planned = None if parts is None else {part.id for part in parts}
        self.provenance.check(done, planned)

    def begin(self, parts: Sequence[Part] | None = None, *, adds: bool = False) -> None:
        """See :class:`pipeline.sinks.base.Sink`."""
        self.check(parts)
        self.provenance.note(self.attachments, origin=not adds)
        self._snapshot.clear()

    def done(self, parts: Sequence[Part]) -> set[str]:
        """Parts that are in the snapshot, and those that have a commit record and rows, from two listings."""
        records, book = Records(self.folder), self._book()
        attempts = records.attempts()
        done = {part.id for part in parts if part.id in attempts or part.id in book.records}
        held = book.records.keys() | {
            part_of(info.url) for info in storage.list_files(self._url(PARTS))
        }
        doubtful = {part: attempts[part] for part in done - held}
        gone = {part for part, record in records.read(doubtful).items() if record.result.written}
        return done - gone

    def recorded(self) -> list[Record]:
        """The records of the parts that readers see."""
        return list(self._book().records.values())

    def retries(self, parts: Sequence[Part]) -> list[Part]:
        """Of parts that are done, those that have bad samples, reduced to these."""
        records = self._records([part.id for part in parts])
        again = []
        for part in parts:
            record = records.get(part.id)
            if record is not None and record.result.quarantined:
                ordinals = bad_ordinals(self._bad_rows(record))
                retry = record.retry + 1
                again.append(replace(part, only=ordinals, retry=retry, num_samples=None))
        return again

    def write(self, table: pa.Table) -> PartResult:
        """Writes quarantine, data, then the record of one part, or of its bad samples that were tried again."""
        result = ledger(table)
        part = Part.from_json(table[PART][0].as_py())
        name = attempt_name(part.id, part.retry)
        bad = quarantine_rows(table)
        total = result = replace(result, retry=part.retry)
        files: tuple[PartFile, ...] = ()
        if part.retry:
            before = self._records([part.id])[part.id]
            files = before.data
            total, bad = with_earlier(table, result, bad, before, self._bad_rows(before))
        if self.measure:
            sums = self.measure(table)
            result, total = replace(result, statistics=sums), replace(total, statistics=sums)
        quarantine = None
        if bad.num_rows:
            quarantine = write_part(self.folder, QUARANTINE, name, bad, ParquetFiles())
        if result.written:
            # A copy of all pixels, so only where there is something to leave out.
            all_good = table[ERROR].null_count == table.num_rows
            good = table if all_good else table.filter(table[ERROR].is_null())
            file = write_part(self.folder, PARTS, name, self.rows(good, part), self.config.files)
            files = (*files, replace(file, retry=part.retry))
        record = Record(total, part.plan(), self._digest, files, quarantine)
        committed = self._commit_record(record)
        return result if part.retry or committed is record else committed.result

    def _commit_record(self, record: Record) -> Record:
        """Writes the record of a part; returns the one that counts, which may be of a writer that was faster."""
        records = Records(self.folder)
        first = records.create(record)
        if first is record:
            return record
        if first.made not in ("", record.made):
            # One of the two jobs was replaced and lives on: its parts count for nothing.
            if not self.provenance.difference():
                records.replace(record)
            return record
        if not all(storage.exists(self._url(file.name)) for file in first.data):
            records.replace(record)  # its rows were removed, and only the record was forgotten
            return record
        return first

    def commit(
        self,
        parts: Sequence[Part],
        keep: Sequence[str] = (),
        pending: Collection[str] = (),
        each: Each = map,
    ) -> None:
        """Publishes the parts that have a record; see :class:`pipeline.sinks.snapshots.snapshot.Snapshot`."""
        self._snapshot.publish([*(part.id for part in parts), *keep], pending, each)

    def recorded_statistics(self, ids: Sequence[str]) -> Iterator[Sums]:
        """The sums of parts, read as they are asked for; after publication, where they are kept."""
        if self.measure is None:
            return
        book, parts = self._book(), set(ids)
        yield from book.sums(self.folder, parts)
        records = Records(self.folder)
        singles = [part for part in records.attempts() if part in parts - book.records.keys()]
        for start in range(0, len(singles), RECORDS_AT_A_TIME):
            first_attempts = dict.fromkeys(singles[start : start + RECORDS_AT_A_TIME], 0)
            for record in records.read(first_attempts).values():
                yield record.result.statistics or {}

    def recorded_results(self, ids: Collection[str]) -> Iterator[PartResult]:
        """The ledgers of parts that readers do not see yet."""
        records = Records(self.folder)
        retries = {part: retry for part, retry in records.attempts().items() if part in ids}
        yield from (record.result for record in records.read(retries).values())

    @property
    def _digest(self) -> str:
        return identity_digest(self.identity)

    @property
    def _snapshot(self) -> Snapshot:
        return Snapshot(
            self.folder, self.config, self._digest, self.order, self.keep_statistics, self.partition
        )

    def _book(self) -> Book:
        """The book of the snapshot; an empty one where that is of another identity, and to be replaced."""
        manifest = read_manifest(self.folder)
        ours = manifest is not None and manifest.fingerprint == self._digest
        return Book.of(self.folder, manifest if ours else None)

    def _records(self, ids: Collection[str]) -> dict[str, Record]:
        """The last record of each of these parts that has one."""
        published = {part: old for part, old in self._book().records.items() if part in ids}
        records = Records(self.folder)
        newer = {
            part: retry
            for part, retry in records.attempts().items()
            if part in ids and (part not in published or published[part].retry < retry)
        }
        return published | records.read(newer)

    def _bad_rows(self, record: Record) -> pa.Table:
        """The rows that a part has in the quarantine."""
        file = record.quarantine
        if file:
            return as_quarantine(ParquetFiles().read(self._url(file.name)))
        place = places(self._book().quarantine).get(record.part)
        if place is None:
            return QUARANTINE_SCHEMA.empty_table()
        return as_quarantine(ParquetFiles().read(self._url(place.file))).slice(
            place.first, place.rows
        )

    def _url(self, *names: str) -> str:
        return storage.join(self.folder, *names)
