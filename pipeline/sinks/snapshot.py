"""The snapshot: files of the right size that hold every committed row once, and the manifest that lists them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipeline import storage
from pipeline.errors import SinkError
from pipeline.sinks import ParquetConfig, showing
from pipeline.sinks.folder import (
    COMMIT,
    MANIFEST,
    PARTS,
    QUARANTINE,
    base_name,
    listed_files,
    part_of,
)
from pipeline.sinks.merge import File, Merger, Piece, folder_of, groups, places, too_many
from pipeline.sinks.provenance import FORMAT
from pipeline.sinks.records import BOOK, MADE, STATISTICS, Book, Record, Records, write_sums
from pipeline.sinks.retention import Retention
from pipeline.storage import locks

Make = Callable[[Sequence[Sequence[Piece]]], Iterable[File]]
Each = Callable[[Callable[[Sequence[Piece]], File], Sequence[Sequence[Piece]]], Iterable[File]]


@dataclass(frozen=True)
class Snapshot:
    """What readers see of an output folder.

    Attributes:
        output: The folder.
        config: Sizes of files and row groups, and what is kept of earlier snapshots.
        fingerprint: Of what the rows depend on.
        order: What the rows of a part are sorted by.
        keep_statistics: Whether the sums of parts are wanted after they are published.
        partition: Folder in it that new rows go to, such as ``date=2026-11-21``; none where empty. Rows stay where they
            were published first.
    """

    output: str
    config: ParquetConfig
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
        same = old is not None and old["fingerprint"] == self.fingerprint
        if not same:
            book = Book(superseded=book.superseded)
        fresh = self._fresh(parts, book)
        records = {part: fresh.get(part) or book.records.get(part, {}) for part in parts}
        self._check_all_there(records)
        number = 1 if old is None else int(old["snapshot"]) + 1
        room = showing.waiting_room(self.output, number)
        merger = Merger(self.output, self.config, self.order, self.fingerprint, room)
        make = partial(each, merger)
        files = self._files(records, old["files"] if old and same else [], make, data=True)
        quarantine = self._files(records, book.quarantine, make, data=False)
        names = [file["name"] for file in quarantine]
        noted, statistics = self._note(records, book.statistics)
        written = Book(noted, quarantine, statistics, book.superseded)
        content = {
            "version": FORMAT,
            "fingerprint": self.fingerprint,
            "num_rows": sum(record["written"] for record in records.values()),
            "files": files,
            "quarantine": names,
        }
        if old is None or written != book or any(old[name] != content[name] for name in content):
            if not storage.is_local(self.output):
                written = replace(written, superseded=self._superseded(old, content, book))
            manifest = content | {"snapshot": number, "records": written.write(self.output)}
            locks.check_held(self.output)
            if old is not None:
                Retention(self.output, self.config).keep(old)
            before = set() if old is None else listed_files(old)
            showing.publish(self.output, manifest, listed_files(manifest) - before, version)
            old = manifest
        locks.check_held(self.output)
        self._clear(old, written, pending)

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

    def _read(self) -> tuple[dict[str, Any] | None, str | None]:
        """The manifest and its version."""
        try:
            data, version = storage.read_version(self._url(MANIFEST))
        except FileNotFoundError:
            return None, None
        return json.loads(data), version

    def _fresh(self, parts: Sequence[str], book: Book) -> dict[str, Record]:
        """The records that the last snapshot has not, or has of an earlier attempt."""
        records = Records(self.output)
        attempts = records.attempts()
        wanted = {}
        for part in parts:
            known, retry = book.records.get(part), attempts.get(part)
            if retry is not None and (known is None or known["retry"] < retry):
                wanted[part] = retry
        found = records.read(wanted)
        strange = {
            part
            for part, each in found.items()
            if each.get(MADE, self.fingerprint) != self.fingerprint
        }
        if strange:
            records.remove(strange)
            raise SinkError(
                f"{len(strange)} parts were written by a job of other settings that this one replaces",
                where=self.output,
                fix="run it again, and those parts are done anew",
            )
        return found

    def _check_all_there(self, records: Mapping[str, Record]) -> None:
        missing = [part for part, record in records.items() if not record]
        if missing:
            raise SinkError(
                f"the records of {len(missing)} parts are gone, the first is {missing[0]}",
                where=self._url(COMMIT),
                fix="let one job at a time write there; run it again",
            )

    def _files(
        self, records: Mapping[str, Record], old: Sequence[File], make: Make, *, data: bool
    ) -> list[File]:
        """The files of the new snapshot, of the data or of the quarantine: those that stay, and new ones."""
        kept = [
            file
            for file in old
            if all(
                (record := records.get(part["id"])) and record["retry"] == part.get("retry", 0)
                for part in file["parts"]
            )
        ]
        many = too_many(kept, self.config)
        kept = [file for file in kept if file["name"] not in many]
        there = {part["id"] for file in kept for part in file["parts"]}
        where = places(old)
        pieces = []
        for part, record in records.items():
            if part not in there:
                piece = (_data_piece if data else _bad_piece)(record, where.get(part))
                if piece is not None:
                    folder = self._folder(piece) if data else f"{QUARANTINE}/"
                    pieces.append(replace(piece, folder=folder))
        pieces.sort(key=lambda piece: piece.folder)
        return kept + list(make(list(groups(pieces, self.config))))

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
            (part, record["statistics"])
            for part, record in records.items()
            if isinstance(record.get("statistics"), dict)
        ]
        files = dict(known)
        new = ""
        if sums and self.keep_statistics:
            new, files_parts = write_sums(self.output, sums)
            files[new] = files_parts
        noted = {}
        for part, record in records.items():
            slim = {name: value for name, value in record.items() if name not in _ELSEWHERE}
            there = record.get("statistics")
            name = there if isinstance(there, str) else (new if there else "")
            noted[part] = slim | ({"statistics": name} if name else {})
        named = {record.get("statistics") for record in noted.values()}
        return noted, {name: count for name, count in files.items() if name in named}

    def _superseded(
        self, old: Mapping[str, Any] | None, new: Mapping[str, Any], book: Book
    ) -> dict[str, float]:
        """The files that readers may still be at, and since when the manifest has them no more."""
        now = time.time()
        waiting = {
            name: since
            for name, since in book.superseded.items()
            if now - since <= self.config.grace_seconds
        }
        gone = listed_files(old) - listed_files(new) if old is not None else set()
        return waiting | dict.fromkeys(gone, now)

    def _clear(self, manifest: Mapping[str, Any], book: Book, pending: Collection[str]) -> None:
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
            if name.startswith(BOOK) and f"{COMMIT}/{name}" != manifest["records"]:
                gone.append(info.url)
            if name.startswith(STATISTICS) and name not in book.statistics:
                gone.append(info.url)
        storage.remove_all(gone)
        Retention(self.output, self.config).clear(manifest, book.superseded)

    def _url(self, *names: str) -> str:
        return storage.join(self.output, *names)


# Of a record: which files its rows were in before they were merged, its sums, which have a file of their own, and the
# identity, which the manifest has.
_ELSEWHERE = ("data", "quarantine", "statistics", MADE)


def _data_piece(record: Record, place: Any) -> Piece | None:
    """The rows of a part; None where it has none."""
    if not record["written"]:
        return None
    before = -1 if place is None else place.retry
    own = [file for file in record.get("data", ()) if file["retry"] > before]
    size = sum(file["bytes"] for file in own) + (0 if place is None else place.size)
    names = tuple(file["name"] for file in own)
    return Piece(
        record["part"], record["shard"], record["retry"], record["written"], place, names, size
    )


def _bad_piece(record: Record, place: Any) -> Piece | None:
    """The quarantine rows of a part, all of which its last attempt has; None where there are none."""
    file = record.get("quarantine")
    part, shard, retry = record["part"], record["shard"], record["retry"]
    if file:
        return Piece(part, shard, retry, file["rows"], None, (file["name"],), file["bytes"])
    if place is not None and place.retry == retry:
        return Piece(part, shard, retry, place.rows, place, (), place.size)
    return None
