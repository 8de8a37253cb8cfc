"""Parquet files that hold each sample once: parts are committed alone, then merged into the snapshot.

A part's data lies in ``_parts/``, its bad samples in ``_quarantine/``, and its record, written last, in ``_commit/``:
what has no record is still to do. The snapshot is the files of ``_manifest.json``, which is replaced last of all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import runs, storage
from pipeline.errors import ConfigError
from pipeline.metrics.statistics import Measure
from pipeline.modalities.decode import METADATA_PREFIX
from pipeline.sample import ERROR, KEY, MODALITIES, ORDINAL, SHARD
from pipeline.shards.plan import Part
from pipeline.sinks import ParquetConfig
from pipeline.sinks.base import PartResult
from pipeline.sinks.layout import write_tables
from pipeline.sinks.quarantine import QUARANTINE, clear_quarantine, write_quarantine

MANIFEST = "_manifest.json"
PARTS, COMMIT = "_parts", "_commit"
IDENTITY = "_identity.json"
READERS = 8  # commit records read at a time
RECORDS_AT_A_TIME = 1024  # held in memory while their sums are added


@dataclass(frozen=True)
class ParquetSink:
    """Writes one output folder.

    Attributes:
        output: The folder.
        config: Sizes of files and row groups.
        identity: What the rows depend on: model, preprocessing, format. Another identity on the same output is refused.
        footer: Key/value metadata of every data file.
        columns: Data columns after ``key``, ``shard`` and ``modalities``, in order; the metadata follows them.
        order: What the rows of a part are sorted by.
        measure: Measures each part into its record; None where no statistics are wanted.
        attachments: File name -> content of what lies beside the identity.
    """

    output: str
    config: ParquetConfig
    identity: Mapping[str, Any]
    footer: Mapping[str, str]
    columns: tuple[str, ...]
    order: tuple[str, ...] = (KEY, ORDINAL)
    measure: Measure | None = None
    attachments: Mapping[str, bytes] = field(default_factory=dict)

    def begin(self) -> None:
        """See :class:`pipeline.sinks.base.Sink`."""
        self._check_identity()
        listed = {file["name"] for file in self._manifest()["files"]}
        for info in storage.list_files(self.output):
            name = info.url.rpartition("/")[2]
            if name.startswith("part-") and name not in listed:
                storage.remove(info.url)  # merged, but never published

    def done(self, parts: Sequence[Part]) -> set[str]:
        """Parts that have a commit record, from one listing of the records."""
        listed = storage.list_files(self._url(COMMIT))
        records = {info.url.rpartition("/")[2].removesuffix(".json") for info in listed}
        return {part.id for part in parts} & records

    def write(self, table: pa.Table) -> PartResult:
        """Writes quarantine, data, then the record of one part."""
        result = write_quarantine(self.output, table)
        if self.measure:
            result = replace(result, statistics=self.measure(table))
        if result.written:
            # A copy of all pixels, so only where there is something to leave out.
            all_good = table[ERROR].null_count == table.num_rows
            rows = self._data_rows(table if all_good else table.filter(table[ERROR].is_null()))
            self._write_tables(self._url(PARTS, f"{result.part}.parquet"), [rows])
        record = self._url(COMMIT, f"{result.part}.json")
        with storage.create(record, replace=False) as file:
            file.write(json.dumps(asdict(result)).encode())
        return result

    def commit(self, parts: Sequence[Part]) -> None:
        """Merges parts that are new into files of the configured size, and replaces the manifest.

        Files of the last snapshot all of whose parts are still wanted stay as they are.
        """
        wanted = {part.id for part in parts}
        old = self._manifest()
        kept = [file for file in old["files"] if {part["id"] for part in file["parts"]} <= wanted]
        merged = {part["id"] for file in kept for part in file["parts"]}
        known = {record["part"]: record for record in old["records"]}
        records = self._records([part.id for part in parts], known)
        fresh = [part.id for part in parts if part.id not in merged and records[part.id]["written"]]
        files = kept + [self._merge(group, records, old) for group in self._groups(fresh)]
        quarantine = [
            f"{QUARANTINE}/{part.id}.parquet"
            for part in parts
            if records[part.id]["quarantined"] + records[part.id]["damages"]
        ]
        manifest = {
            "version": 1,
            "fingerprint": runs.fingerprint(dict(self.identity)),
            "num_rows": sum(record["written"] for record in records.values()),
            "files": files,
            "quarantine": quarantine,
            "records": list(records.values()),
        }
        if manifest != old:
            storage.write_bytes(self._url(MANIFEST), json.dumps(manifest).encode())
        self._clear({file["name"] for file in files}, quarantine)

    def recorded_statistics(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """The sums in the records of parts, read as they are asked for."""
        if self.measure is None:
            return
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(ids), RECORDS_AT_A_TIME):
                for record in pool.map(self._record, ids[start : start + RECORDS_AT_A_TIME]):
                    yield record["statistics"]

    def _check_identity(self) -> None:
        try:
            there = json.loads(storage.read_bytes(self._url(COMMIT, IDENTITY)))
        except FileNotFoundError:
            for name, content in self.attachments.items():
                storage.write_bytes(self._url(COMMIT, name), content)
            storage.write_bytes(
                self._url(COMMIT, IDENTITY), json.dumps(dict(self.identity)).encode()
            )
            return
        ours = json.loads(json.dumps(dict(self.identity)))
        if there != ours:
            difference = next(differences(there, ours), "")
            raise ConfigError(
                f"the output was made with other settings: {difference}",
                where=self.output,
                fix="choose another output folder, or remove this one",
            )

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads(storage.read_bytes(self._url(MANIFEST)))
        except FileNotFoundError:
            return {"files": [], "quarantine": [], "records": []}
        return manifest

    def _records(
        self, ids: Sequence[str], known: Mapping[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        def read(part: str) -> dict[str, Any]:
            if part in known:
                return known[part]
            record = self._record(part)
            record.pop("statistics", None)  # read again where they are wanted
            return record

        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(ids, pool.map(read, ids), strict=True))

    def _record(self, part: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(storage.read_bytes(self._url(COMMIT, f"{part}.json")))
        return record

    def _groups(self, ids: Sequence[str]) -> Iterator[list[str]]:
        """Neighbouring parts that together fill a file; a large part is a file of its own."""
        limit, large = self.config.file_mb << 20, self.config.min_file_mb << 20
        sizes = {
            info.url.rpartition("/")[2].removesuffix(".parquet"): info.size
            for info in storage.list_files(self._url(PARTS))
        }
        group: list[str] = []
        filled = 0
        for part in ids:
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
        self, ids: Sequence[str], records: Mapping[str, Any], old: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Makes one file of the snapshot, part by part, so that memory holds one part."""
        name = f"part-{runs.fingerprint(list(ids))[:16]}.parquet"
        own = self._url(PARTS, f"{ids[0]}.parquet")
        if len(ids) == 1 and storage.exists(own):
            storage.link(own, self._url(name))  # large enough as it is
        else:
            self._write_tables(self._url(name), (self._part_rows(part, old) for part in ids))
        return {
            "name": name,
            "rows": sum(records[part]["written"] for part in ids),
            "parts": [{"id": part, "rows": records[part]["written"]} for part in ids],
        }

    def _part_rows(self, part: str, old: Mapping[str, Any]) -> pa.Table:
        """A part's rows, from its own file or, when it was merged before, from the file that holds it."""
        own = self._url(PARTS, f"{part}.parquet")
        if storage.exists(own):
            return _read_table(own)
        for file in old["files"]:
            before = 0
            for inside in file["parts"]:
                if inside["id"] == part:
                    whole = _read_table(self._url(file["name"]))
                    return whole.slice(before, inside["rows"])
                before += inside["rows"]
        raise ConfigError(
            f"the rows of part {part} are gone",
            where=self.output,
            fix="remove the output folder and run the job again",
        )

    def _clear(self, files: set[str], quarantine: list[str]) -> None:
        """Removes what the new snapshot has made superfluous."""
        for info in storage.list_files(self.output):
            name = info.url.rpartition("/")[2]
            if name.startswith("part-") and name not in files:
                storage.remove(info.url)
        for info in storage.list_files(self._url(PARTS)):
            storage.remove(info.url)
        clear_quarantine(self.output, frozenset(name.rpartition("/")[2] for name in quarantine))

    def _data_rows(self, good: pa.Table) -> pa.Table:
        good = good.sort_by([(name, "ascending") for name in self.order])
        metadata = [name for name in good.column_names if name.startswith(METADATA_PREFIX)]
        picked = good.select([KEY, SHARD, MODALITIES, *self.columns, *metadata])
        names = [name.removeprefix(METADATA_PREFIX) for name in picked.column_names]
        return picked.rename_columns(names).replace_schema_metadata(dict(self.footer))

    def _write_tables(self, url: str, tables: Iterable[pa.Table]) -> None:
        with storage.create(url) as file:
            write_tables(file, tables, self.config.row_group_mb << 20)

    def _url(self, *names: str) -> str:
        return storage.join(self.output, *names)


def _read_table(url: str) -> pa.Table:
    if storage.is_local(url):
        return pq.ParquetFile(storage.local_path(url), memory_map=True).read()
    return pq.ParquetFile(pa.BufferReader(storage.read_bytes(url))).read()


def differences(there: Mapping[str, Any], ours: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What is different between two trees of settings, in words."""
    for name in sorted({*there, *ours}):
        left, right = there.get(name), ours.get(name)
        if left == right:
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            yield from differences(left, right, f"{path}{name}.")
        else:
            yield f"{path}{name} was {left!r} and is now {right!r}"
