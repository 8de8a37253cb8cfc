"""Commit records: one file a part, written last and once; after publication, all of a snapshot in one file.

What has a record is done. Those of parts that were published are gathered in a book, so that a hundred thousand parts
are one file to read; which book, the manifest says.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pipeline import runs, storage
from pipeline.sinks.base import PartResult
from pipeline.sinks.folder import COMMIT, attempt_name, base_name, part_of

READERS = 16  # records read at a time
MADE = "made"  # in a record: digest of the identity of the job that wrote it
BOOK, STATISTICS = "records-", "statistics-"  # how files are named that lie beside single records

Record = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """The records of parts that are not published yet.

    Attributes:
        output: The output folder.
    """

    output: str

    def attempts(self) -> dict[str, int]:
        """Part -> how often its bad samples were tried again, from one listing."""
        found: dict[str, int] = {}
        for part, retry, _ in self._files():
            found[part] = max(found.get(part, 0), retry)
        return found

    def read(self, wanted: Mapping[str, int]) -> dict[str, Record]:
        """Part -> its record.

        Args:
            wanted: Part -> which attempt.
        """

        def one(item: tuple[str, int]) -> Record:
            record: Record = json.loads(storage.read_bytes(self._url(*item)))
            return record

        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(wanted, pool.map(one, wanted.items()), strict=True))

    def create(self, record: Record) -> Record:
        """Writes a record unless there is one; returns the one that is there then.

        Args:
            record: With ``part`` and ``retry``.
        """
        url = self._url(record["part"], record["retry"])
        with storage.create(url, replace=False) as file:
            file.write(json.dumps(record).encode())
        if file.created:
            return record
        there: Record = json.loads(storage.read_bytes(url))
        return there

    def replace(self, record: Record) -> None:
        """Writes a record in the place of another."""
        url = self._url(record["part"], record["retry"])
        storage.write_bytes(url, json.dumps(record).encode())

    def remove(self, parts: Collection[str]) -> None:
        """Removes all records of parts."""
        storage.remove_all([url for part, _, url in self._files() if part in parts])

    def _files(self) -> Iterator[tuple[str, int, str]]:
        """Part, attempt and location of each."""
        for info in storage.list_files(storage.join(self.output, COMMIT)):
            part = part_of(info.url)
            if part is not None:
                retry = base_name(info.url).split(".")[1]
                yield part, int(retry) if retry.isdigit() else 0, info.url

    def _url(self, part: str, retry: int) -> str:
        return storage.join(self.output, COMMIT, f"{attempt_name(part, retry)}.json")


@dataclass(frozen=True)
class Book:
    """The records of a snapshot.

    Attributes:
        records: Part -> its record, without what is kept elsewhere: its files and its statistics.
        quarantine: The quarantine's files, as the manifest has those of the data.
        statistics: File of sums -> how many parts it has; each record names its own.
        superseded: File that readers may still be at -> when it was replaced, in seconds since 1970.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    statistics: Mapping[str, int] = field(default_factory=dict)
    superseded: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, output: str, manifest: Mapping[str, Any] | None) -> Book:
        """The book of a manifest; an empty one where nothing was published."""
        return cls() if manifest is None else _load(storage.join(output, manifest["records"]))

    def write(self, output: str) -> str:
        """Writes the book; returns its name in the output folder, which tells of its content."""
        values = vars(self)  # which copies no record
        name = f"{COMMIT}/{BOOK}{runs.fingerprint(values)[:16]}.json"
        with storage.create(storage.join(output, name), replace=False) as file:
            file.write(json.dumps(values).encode())
        return name

    def sums(self, output: str, ids: Collection[str]) -> Iterator[Mapping[str, Any]]:
        """The sums of some parts, where they were kept."""
        names = {self.records[part].get("statistics") for part in ids if part in self.records}
        for name in sorted(filter(None, names)):
            for line in storage.read_bytes(storage.join(output, COMMIT, name)).splitlines():
                told = json.loads(line)
                record = self.records.get(told["part"], {})
                if told["part"] in ids and record.get("statistics") == name:
                    yield told["sums"]


def write_sums(output: str, sums: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[str, int]:
    """Writes the sums of parts into one file; returns its name, and how many they are."""
    lines = [json.dumps({"part": part, "sums": each}) for part, each in sums]
    name = f"{STATISTICS}{runs.fingerprint(lines)[:16]}.jsonl"
    with storage.create(storage.join(output, COMMIT, name), replace=False) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    return name, len(lines)


def samples_read(record: Record) -> int:
    """Samples that were read of a part; records of earlier versions say only what became of them."""
    accounted = record["written"] + record["quarantined"] + record["filtered"]
    return int(record.get("read", accounted))


def result_of(record: Record) -> PartResult:
    """The ledger that a record holds."""
    names = PartResult.__dataclass_fields__
    values = {**record, "read": samples_read(record)}
    return PartResult(**{name: value for name, value in values.items() if name in names})


@functools.lru_cache(maxsize=2)
def _load(url: str) -> Book:
    """A book, once a process: what a name stands for never changes."""
    return Book(**json.loads(storage.read_bytes(url)))
