"""The snapshot: files of the right size that hold every committed row once, and the manifest that lists them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import runs, storage
from pipeline.errors import ConfigError
from pipeline.sample import ORDINAL
from pipeline.sinks import ParquetConfig
from pipeline.sinks.layout import write_tables
from pipeline.sinks.published import Published, read_table
from pipeline.sinks.quarantine import QUARANTINE, clear_quarantine

MANIFEST = "_manifest.json"
PARTS, COMMIT = "_parts", "_commit"
READERS = 8  # commit records read at a time

Record = dict[str, Any]
_PART = re.compile(r"[0-9a-f]{24}")  # an identity, as Part.id gives it


def attempt_name(part: str, retry: int) -> str:
    """Name of a part's files: its identity, and a number where its bad samples were tried again."""
    return f"{part}.{retry}" if retry else part


def part_name(url: str) -> str:
    """The part that a file is of."""
    return url.rpartition("/")[2].partition(".")[0]


def write_part(url: str, tables: Iterable[pa.Table], config: ParquetConfig) -> None:
    """Writes a file of rows, whole or not at all."""
    with storage.create(url) as file:
        write_tables(file, tables, config.row_group_mb << 20)


@dataclass(frozen=True)
class Records:
    """The commit records of an output folder.

    Attributes:
        output: The folder.
    """

    output: str

    def attempts(self) -> dict[str, int]:
        """Part -> how often its bad samples were tried again; parts without a record are not done."""
        found: dict[str, int] = {}
        for info in storage.list_files(storage.join(self.output, COMMIT)):
            name = info.url.rpartition("/")[2].removesuffix(".json")
            part, _, retry = name.partition(".")
            if not _PART.fullmatch(part):
                continue  # what lies beside the records
            found[part] = max(found.get(part, 0), int(retry) if retry.isdigit() else 0)
        return found

    def forget(self, parts: Collection[str]) -> None:
        """Removes the records of parts, which are to be done again should they come back."""
        if parts:
            for info in storage.list_files(storage.join(self.output, COMMIT)):
                if part_name(info.url) in parts:
                    storage.remove(info.url)

    def read(self, wanted: Mapping[str, int]) -> dict[str, Record]:
        """Part -> its record.

        Args:
            wanted: Part -> which attempt.
        """

        def one(item: tuple[str, int]) -> Record:
            name = f"{attempt_name(*item)}.json"
            record: Record = json.loads(storage.read_bytes(storage.join(self.output, COMMIT, name)))
            return record

        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(wanted, pool.map(one, wanted.items()), strict=True))


@dataclass(frozen=True)
class Snapshot:
    """What readers see of an output folder.

    Attributes:
        output: The folder.
        config: Sizes of files and row groups.
        fingerprint: Of what the rows depend on.
        order: What the rows of a part are sorted by.
    """

    output: str
    config: ParquetConfig
    fingerprint: str
    order: tuple[str, ...]

    def publish(self, parts: Sequence[str], pending: Collection[str] = ()) -> None:
        """Merges parts that are new into files of the configured size, and replaces the manifest.

        Files of the last snapshot all of whose parts are still wanted, and have not been tried again, stay as they are.
        The records of parts that are in neither of the two go: their rows are gone with them.

        Args:
            parts: All that the snapshot is to hold.
            pending: Parts that a later snapshot will hold; what is there of them stays.
        """
        old = self.manifest()
        published = Published.of(self.output, old)
        attempts = Records(self.output).attempts()
        wanted = {part: attempts[part] for part in parts}
        kept = [
            file
            for file in old["files"]
            if all(wanted.get(each["id"]) == each.get("retry", 0) for each in file["parts"])
        ]
        merged = {part["id"] for file in kept for part in file["parts"]}
        records = self._records(wanted, old)
        fresh = [part for part in parts if part not in merged and records[part]["written"]]
        files = kept + [self._merge(group, records, published) for group in self._groups(fresh)]
        quarantine = [
            f"{QUARANTINE}/{attempt_name(part, wanted[part])}.parquet"
            for part in parts
            if records[part].get("reasons", True)
        ]
        manifest = {
            "version": 1,
            "fingerprint": self.fingerprint,
            "num_rows": sum(record["written"] for record in records.values()),
            "files": files,
            "quarantine": quarantine,
            "records": list(records.values()),
        }
        if manifest != old:
            storage.write_bytes(self._url(MANIFEST), json.dumps(manifest).encode())
        self._clear({file["name"] for file in files}, quarantine, frozenset(pending))
        Records(self.output).forget(attempts.keys() - wanted.keys() - set(pending))

    def manifest(self) -> dict[str, Any]:
        """The manifest; an empty one where nothing was published."""
        try:
            manifest: dict[str, Any] = json.loads(storage.read_bytes(self._url(MANIFEST)))
        except FileNotFoundError:
            return {"files": [], "quarantine": [], "records": []}
        return manifest

    def clear_unpublished(self) -> None:
        """Removes files that were merged, and never published."""
        self._keep({file["name"] for file in self.manifest()["files"]})

    def _records(self, wanted: Mapping[str, int], old: Mapping[str, Any]) -> dict[str, Record]:
        """The records of all parts; those that the last manifest has are not read again."""
        known = {
            record["part"]: record
            for record in old["records"]
            if wanted.get(record["part"]) == record.get("retry", 0)
        }
        missing = {part: retry for part, retry in wanted.items() if part not in known}
        read = Records(self.output).read(missing)
        for record in read.values():
            record.pop("statistics", None)  # read again where they are wanted
        return {part: known.get(part) or read[part] for part in wanted}

    def _groups(self, parts: Sequence[str]) -> Iterator[list[str]]:
        """Neighbouring parts that together fill a file; a large part is a file of its own."""
        limit, large = self.config.file_mb << 20, self.config.min_file_mb << 20
        sizes = {
            info.url.rpartition("/")[2].removesuffix(".parquet"): info.size
            for info in storage.list_files(self._url(PARTS))
        }
        group: list[str] = []
        filled = 0
        for part in parts:
            size = sizes.get(part, 0)
            if group and (filled + size > limit or size >= large):
                yield group
                group, filled = [], 0
            if size >= large:
                yield [part]
                continue
            group.append(part)
            filled += size
        if group:
            yield group

    def _merge(
        self, parts: Sequence[str], records: Mapping[str, Record], published: Published
    ) -> dict[str, Any]:
        """Makes one file of the snapshot, part by part, so that memory holds one part."""
        retries = {part: int(records[part].get("retry", 0)) for part in parts}
        names = [attempt_name(part, retry) for part, retry in retries.items()]
        name = f"part-{runs.fingerprint(names)[:16]}.parquet"
        own = self._url(PARTS, f"{parts[0]}.parquet")
        if len(parts) == 1 and not retries[parts[0]] and storage.exists(own):
            storage.link(own, self._url(name))  # large enough as it is
        else:
            tables = (self._part_rows(part, retry, published) for part, retry in retries.items())
            write_part(self._url(name), tables, self.config)
        return {
            "name": name,
            "rows": sum(records[part]["written"] for part in parts),
            "parts": [
                {"id": part, "rows": records[part]["written"]} | ({"retry": retry} if retry else {})
                for part, retry in retries.items()
            ],
        }

    def _part_rows(self, part: str, retry: int, published: Published) -> pa.Table:
        """A part's rows: its first ones, and those of bad samples that have become good since."""
        own = self._url(PARTS, f"{part}.parquet")
        place = published.places.get(part)
        tables = []
        if place is not None:
            tables.append(published.rows(place))
        elif storage.exists(own):
            tables.append(read_table(own))
        before = place.retry if place is not None else 0
        for number in range(before + 1, retry + 1):
            again = self._url(PARTS, f"{attempt_name(part, number)}.parquet")
            if storage.exists(again):
                tables.append(read_table(again))
        if not tables:
            raise ConfigError(
                f"the rows of part {part} are gone",
                where=self.output,
                fix="remove the output folder and run the job again",
            )
        if len(tables) == 1:
            return tables[0]
        whole = pa.concat_tables(tables)
        # Its ordinals are not written; keys are unique within a shard.
        return whole.sort_by([(name, "ascending") for name in self.order if name != ORDINAL])

    def _clear(self, files: set[str], quarantine: list[str], pending: frozenset[str]) -> None:
        """Removes what the new snapshot has made superfluous."""
        self._keep(files)
        for info in storage.list_files(self._url(PARTS)):
            if part_name(info.url) not in pending:
                storage.remove(info.url)
        listed = frozenset(name.rpartition("/")[2] for name in quarantine)
        clear_quarantine(self.output, listed, pending)

    def _keep(self, files: set[str]) -> None:
        for info in storage.list_files(self.output):
            name = info.url.rpartition("/")[2]
            if name.startswith("part-") and name not in files:
                storage.remove(info.url)

    def _url(self, *names: str) -> str:
        return storage.join(self.output, *names)
