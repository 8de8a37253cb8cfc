"""Commit records: one file a part, written last and once; after publication, all of a snapshot in one file.

What has a record is done. Those of parts that were published are gathered in a book, so that a hundred thousand parts
are one file to read; which book, the manifest says.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from pipeline import runs, storage
from pipeline.metrics.columns import Sums
from pipeline.shards.planning.plan import PartPlan
from pipeline.sinks.folder import COMMIT, attempt_name, base_name, part_of
from pipeline.sinks.ledger import PartResult
from pipeline.sinks.snapshots.manifest import Manifest, SnapshotFile

READERS = 16  # records read at a time
BOOK, STATISTICS = "records-", "statistics-"  # how files are named that lie beside single records


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file with rows of one attempt at a part.

    Attributes:
        name: In the output folder.
        rows: How many.
        bytes: Its size.
        crc32: Its checksum, in hexadecimal.
        retry: Which attempt; None of the quarantine, of which the last attempt has all rows.
    """

    name: str
    rows: int
    bytes: int
    crc32: str
    retry: int | None = None

    def values(self) -> dict[str, str | int]:
        """Ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Record:
    """What is known of a part that is done.

    Attributes:
        result: Its ledger, over all attempts.
        plan: What planning found of it; None where an earlier version has not noted it.
        made: Digest of the identity of the job that wrote it; empty in a book, whose manifest has it.
        data: Files with its rows, in the order of the attempts; empty once they were published.
        quarantine: File with its bad rows; None where there are none, and once they were published.
        sums_file: File that has its sums once they were published; empty where they are not kept.
    """

    result: PartResult
    plan: PartPlan | None = None
    made: str = ""
    data: tuple[PartFile, ...] = ()
    quarantine: PartFile | None = None
    sums_file: str = ""

    @property
    def part(self) -> str:
        """Identity of the part."""
        return self.result.part

    @property
    def shard(self) -> str:
        """Its shard."""
        return self.result.shard

    @property
    def retry(self) -> int:
        """How often its bad samples have been tried again."""
        return self.result.retry

    def published(self, sums_file: str) -> Record:
        """The record as a book has it: without what is kept elsewhere.

        That is which files its rows were in before they were merged, its sums, which have a file of their own, and the
        identity, which the manifest has.
        """
        result = replace(self.result, statistics=None)
        return Record(result=result, plan=self.plan, sums_file=sums_file)

    def values(self) -> dict[str, object]:
        """Ready for JSON."""
        values = self.result.values()
        values |= {} if self.plan is None else {"plan": self.plan.values()}
        if not self.made:  # in a book
            del values["statistics"]
            return values | ({"statistics": self.sums_file} if self.sums_file else {})
        values["made"] = self.made
        values |= {} if self.quarantine is None else {"quarantine": self.quarantine.values()}
        return values | ({"data": [file.values() for file in self.data]} if self.data else {})

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The record that :meth:`values` described; earlier versions left out what they did not count."""
        statistics, quarantine = values.get("statistics"), values.get("quarantine")
        published = isinstance(statistics, str)
        accounted = values["written"] + values["quarantined"] + values["filtered"]
        counted = {"read": accounted, **values, "statistics": None if published else statistics}
        return cls(
            result=PartResult(**{name: counted[name] for name in _RESULT if name in counted}),
            plan=PartPlan.from_values(values["plan"]) if "plan" in values else None,
            made=values.get("made", ""),
            data=tuple(PartFile(**file) for file in values.get("data", ())),
            quarantine=PartFile(**quarantine) if quarantine else None,
            sums_file=statistics if isinstance(statistics, str) else "",
        )

    def to_json(self) -> bytes:
        """The content of its file."""
        return json.dumps(self.values()).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """The record that :meth:`to_json` wrote."""
        return cls.from_values(json.loads(content))


_RESULT = tuple(field.name for field in fields(PartResult))


@dataclass(frozen=True)
class Records:
    """The records of parts that are not published yet.

    Attributes:
        output: The output folder.
    """

    output: str

    def attempts(self) -> dict[str, int]:
        """Part -> how often its bad samples were tried again, from one listing."""
        retries: dict[str, int] = {}
        for part, retry, _ in self._files():
            retries[part] = max(retries.get(part, 0), retry)
        return retries

    def read(self, attempts: Mapping[str, int]) -> dict[str, Record]:
        """Part -> its record.

        Args:
            attempts: Part -> which attempt.
        """
        with ThreadPoolExecutor(READERS) as pool:
            contents = pool.map(storage.read_bytes, map(self._url, attempts, attempts.values()))
            return dict(zip(attempts, map(Record.from_json, contents), strict=True))

    def create(self, record: Record) -> Record:
        """Writes a record unless there is one; returns the one that is there then."""
        url = self._url(record.part, record.retry)
        with storage.create(url, replace=False) as file:
            file.write(record.to_json())
        return record if file.created else Record.from_json(storage.read_bytes(url))

    def replace(self, record: Record) -> None:
        """Writes a record in the place of another."""
        storage.write_bytes(self._url(record.part, record.retry), record.to_json())

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
    quarantine: tuple[SnapshotFile, ...] = ()
    statistics: Mapping[str, int] = field(default_factory=dict)
    superseded: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, output: str, manifest: Manifest | None) -> Book:
        """The book of a manifest; an empty one where nothing was published."""
        return cls() if manifest is None else _load(storage.join(output, manifest.records))

    def write(self, output: str) -> str:
        """Writes the book; returns its name in the output folder, which tells of its content."""
        values = {
            "records": {part: record.values() for part, record in self.records.items()},
            "quarantine": [file.values() for file in self.quarantine],
            "statistics": self.statistics,
            "superseded": self.superseded,
        }
        name = f"{COMMIT}/{BOOK}{runs.fingerprint(values)[:16]}.json"
        with storage.create(storage.join(output, name), replace=False) as file:
            file.write(json.dumps(values).encode())
        return name

    def sums(self, output: str, ids: Collection[str]) -> Iterator[Sums]:
        """The sums of some parts, where they were kept."""
        names = {self.records[part].sums_file for part in ids if part in self.records}
        for name in sorted(filter(None, names)):
            for line in storage.read_bytes(storage.join(output, COMMIT, name)).splitlines():
                entry = json.loads(line)
                record = self.records.get(entry["part"])
                if entry["part"] in ids and record is not None and record.sums_file == name:
                    yield entry["sums"]


def write_sums(output: str, sums: Iterable[tuple[str, Sums]]) -> tuple[str, int]:
    """Writes the sums of parts into one file; returns its name, and how many they are."""
    lines = [json.dumps({"part": part, "sums": part_sums}) for part, part_sums in sums]
    name = f"{STATISTICS}{runs.fingerprint(lines)[:16]}.jsonl"
    with storage.create(storage.join(output, COMMIT, name), replace=False) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    return name, len(lines)


@functools.lru_cache(maxsize=2)
def _load(url: str) -> Book:
    """A book, once a process: what a name stands for never changes."""
    values = json.loads(storage.read_bytes(url))
    return Book(
        records={
            part: Record.from_values(record) for part, record in values.get("records", {}).items()
        },
        quarantine=tuple(map(SnapshotFile.from_values, values.get("quarantine", ()))),
        statistics=values.get("statistics", {}),
        superseded=values.get("superseded", {}),
    )
