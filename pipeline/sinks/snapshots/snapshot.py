"""The snapshot: files of the right size that hold every committed row once, and the manifest that lists them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipeline import storage
from pipeline.errors import SinkError
from pipeline.sinks.folder import (
    COMMIT,
    MANIFEST,
    PARTS,
    QUARANTINE,
    base_name,
    part_of,
)
from pipeline.sinks.records import BOOK, STATISTICS, Book, Record, Records, write_sums
from pipeline.sinks.snapshots import showing
from pipeline.sinks.snapshots.manifest import Manifest, SnapshotFile
from pipeline.sinks.snapshots.merge import Merger, Piece, Place, folder_of, groups, places, too_many
from pipeline.sinks.snapshots.retention import Retention
from pipeline.sinks.snapshots.settings import SnapshotSettings
from pipeline.storage.locking import locks

Make = Callable[[Sequence[Sequence[Piece]]], Iterable[SnapshotFile]]
Each = Callable[
    [Callable[[Sequence[Piece]], SnapshotFile], Sequence[Sequence[Piece]]], Iterable[SnapshotFile]
]


@dataclass(frozen=True)
class Snapshot:
    """What readers see of an output folder.

    Attributes:
        output: The folder.
        config: Sizes of files, how rows lie in them, and what is kept of earlier snapshots.
        fingerprint: Of what the rows depend on.
        order: What the rows of a part are sorted by.
        keep_statistics: Whether the sums of parts are wanted after they are published.
        partition: Folder in it that new rows go to, such as ``date=2026-11-21``; none where empty. Rows stay where they
            were published first.
    """

    output: str
    config: SnapshotSettings
    fingerprint: str
    order: tuple[str, ...]
    keep_statistics: bool = False
    partition: str = ""

    def publish(self, parts: Sequence[str], pending: Collection[str], each: Each) -> None:
        """Merges parts that are new into files of the configured size, and replaces the manifest.

        Files of the last snapshot all of whose parts are still wanted, and have not been tried again, stay as they are,
        unless so many of them are small that they are merged with one another. Of a snapshot of another identity
        nothing stays. The records of parts that are neither wanted nor pending go: their rows are gone with them.

        Args:
            parts: All that the snapshot is to hold.
            pending: Parts that a later snapshot will hold; what is there of them stays.
            each: Makes the files, here or on other nodes.

        Raises:
            SinkError: Another job has published meanwhile, or a file cannot be written.
        """
        old, version = self._read()
        book = Book.of(self.output, old)
        same = old is not None and old.fingerprint == self.fingerprint
        if not same:
            book = Book(superseded=book.superseded)
        number = 1 if old is None else old.snapshot + 1
        room = showing.waiting_room(self.output, number)
        merger = Merger(self.output, self.config, self.order, self.fingerprint, room)
        make = partial(each, merger)
        content, filled = self._fill(parts, old if same else None, book, make)
        if old is None or filled != book or content != replace(old, snapshot=0, records=""):
            if not storage.is_local(self.output):
                filled = replace(filled, superseded=self._superseded(old, content, book))
            manifest = replace(content, snapshot=number, records=filled.write(self.output))
            locks.check_held(self.output)
            if old is not None:
                Retention(self.output, self.config).keep(old)
            before = set() if old is None else old.names
            showing.publish(self.output, manifest, manifest.names - before, version)
            old = manifest
        locks.check_held(self.output)
        self._clear(old, filled, pending)

    def _fill(
        self, parts: Sequence[str], old: Manifest | None, book: Book, make: Make
    ) -> tuple[Manifest, Book]:
        """Makes the files of the new snapshot; returns its manifest, still without a number, and its book.

        Args:
            parts: All that it is to hold.
            old: The manifest of the last one; None where nothing of that stays.
            book: Of the last one.
            make: Makes files of pieces.
        """
        records = self._records(parts, book)
        files = self._files(records, old.files if old else (), make, data=True)
        quarantine = self._files(records, book.quarantine, make, data=False)
        noted, statistics = self._note(records, book.statistics)
        manifest = Manifest(
            fingerprint=self.fingerprint,
            num_rows=sum(record.result.written for record in records.values()),
            files=files,
            quarantine=tuple(file.name for file in quarantine),
            snapshot=0,
            records="",
        )
        return manifest, Book(noted, quarantine, statistics, book.superseded)

    def clear(self) -> None:
        """Removes what an interrupted job, or one that published, has left behind."""
        if storage.is_local(self.output):  # an object store shows none before it is whole
            for name in ("", PARTS, COMMIT, QUARANTINE):
                staging = storage.local_path(self._url(name)) / storage.STAGING
                shutil.rmtree(staging, ignore_errors=True)
            showing.complete(self.output)
        manifest = self._read()[0]
        superseded = Book.of(self.output, manifest).superseded
        Retention(self.output, self.config).clear(manifest, superseded)

    def _read(self) -> tuple[Manifest | None, str | None]:
        """The manifest and its version."""
        try:
            content, version = storage.read_version(self._url(MANIFEST))
        except FileNotFoundError:
            return None, None
        return Manifest.from_json(content), version

    def _records(self, parts: Sequence[str], book: Book) -> dict[str, Record]:
        """Part -> its last record.

        Raises:
            SinkError: One is gone, or of another job.
        """
        fresh = self._fresh(parts, book)
        missing = [part for part in parts if part not in fresh and part not in book.records]
        if missing:
            raise SinkError(
                f"the records of {len(missing)} parts are gone, the first is {missing[0]}",
                where=self._url(COMMIT),
                fix="let one job at a time write there; run it again",
            )
        return {part: fresh[part] if part in fresh else book.records[part] for part in parts}

    def _fresh(self, parts: Sequence[str], book: Book) -> dict[str, Record]:
        """The records that the last snapshot has not, or has of an earlier attempt."""
        records = Records(self.output)
        attempts = records.attempts()
        newer = {}
        for part in parts:
            published, retry = book.records.get(part), attempts.get(part)
            if retry is not None and (published is None or published.retry < retry):
                newer[part] = retry
        fresh = records.read(newer)
        strange = {
            part for part, record in fresh.items() if record.made not in ("", self.fingerprint)
        }
        if strange:
            records.remove(strange)
            raise SinkError(
                f"{len(strange)} parts were written by a job of other settings that this one replaces",
                where=self.output,
                fix="run it again, and those parts are done anew",
            )
        return fresh

    def _files(
        self,
        records: Mapping[str, Record],
        old: Sequence[SnapshotFile],
        make: Make,
        *,
        data: bool,
    ) -> tuple[SnapshotFile, ...]:
        """The files of the new snapshot, of the data or of the quarantine: those that stay, and new ones."""
        valid = [file for file in old if _is_valid(file, records)]
        many = too_many(valid, self.config)
        staying = [file for file in valid if file.name not in many]
        covered = {part.id for file in staying for part in file.parts}
        place_by_part = places(old)
        pieces = []
        for part, record in records.items():
            if part not in covered:
                piece = (_data_piece if data else _bad_piece)(record, place_by_part.get(part))
                if piece is not None:
                    folder = self._folder(piece) if data else f"{QUARANTINE}/"
                    pieces.append(replace(piece, folder=folder))
        pieces.sort(key=lambda piece: piece.folder)
        return (*staying, *make(list(groups(pieces, self.config))))

    def _folder(self, piece: Piece) -> str:
        """Where the rows of a part go: where they are, or where new rows do."""
        if piece.place is not None:
            return folder_of(piece.place.file)
        return f"{self.partition}/" if self.partition else ""

    def _note(
        self, records: Mapping[str, Record], known: Mapping[str, int]
    ) -> tuple[dict[str, Record], dict[str, int]]:
        """The records as the book has them, and the files of sums that they name."""
        sums = [
            (part, statistics)
            for part, record in records.items()
            if (statistics := record.result.statistics) is not None
        ]
        files = dict(known)
        new = ""
        if sums and self.keep_statistics:
            new, num_parts = write_sums(self.output, sums)
            files[new] = num_parts
        noted = {
            part: record.published(record.sums_file or (new if record.result.statistics else ""))
            for part, record in records.items()
        }
        named = {record.sums_file for record in noted.values()}
        return noted, {name: count for name, count in files.items() if name in named}

    def _superseded(self, old: Manifest | None, new: Manifest, book: Book) -> dict[str, float]:
        """The files that readers may still be at, and since when the manifest has them no more."""
        now = time.time()
        waiting = {
            name: since
            for name, since in book.superseded.items()
            if now - since <= self.config.grace_seconds
        }
        gone = old.names - new.names if old is not None else set()
        return waiting | dict.fromkeys(gone, now)

    def _clear(self, manifest: Manifest, book: Book, pending: Collection[str]) -> None:
        """Removes what the new snapshot has made superfluous: records first, so that none is without its rows."""
        records = Records(self.output)
        stays = set(pending)
        records.remove({part for part in records.attempts() if part not in stays})
        gone = []
        for folder in (PARTS, QUARANTINE):
            for info in storage.list_files(self._url(folder)):
                part = part_of(info.url)
                if part is not None and part not in stays:
                    gone.append(info.url)
        for info in storage.list_files(self._url(COMMIT)):
            name = base_name(info.url)
            if name.startswith(BOOK) and f"{COMMIT}/{name}" != manifest.records:
                gone.append(info.url)
            if name.startswith(STATISTICS) and name not in book.statistics:
                gone.append(info.url)
        storage.remove_all(gone)
        Retention(self.output, self.config).clear(manifest, book.superseded)

    def _url(self, *names: str) -> str:
        return storage.join(self.output, *names)


def _is_valid(file: SnapshotFile, records: Mapping[str, Record]) -> bool:
    """Whether all that a file holds is still asked for, and has not been tried again."""
    return all(
        (record := records.get(part.id)) is not None and record.retry == part.retry
        for part in file.parts
    )


def _data_piece(record: Record, place: Place | None) -> Piece | None:
    """The rows of a part; None where it has none."""
    rows = record.result.written
    if not rows:
        return None
    before = -1 if place is None else place.retry
    files = [file for file in record.data if (file.retry or 0) > before]
    size = sum(file.bytes for file in files) + (0 if place is None else place.size)
    names = tuple(file.name for file in files)
    return Piece(record.part, record.shard, record.retry, rows, place, names, size)


def _bad_piece(record: Record, place: Place | None) -> Piece | None:
    """The quarantine rows of a part, all of which its last attempt has; None where there are none."""
    file = record.quarantine
    part, shard, retry = record.part, record.shard, record.retry
    if file:
        return Piece(part, shard, retry, file.rows, None, (file.name,), file.bytes)
    if place is not None and place.retry == retry:
        return Piece(part, shard, retry, place.rows, place, (), place.size)
    return None
