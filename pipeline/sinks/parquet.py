"""Parquet files that hold each sample once: parts are committed alone, then merged into the snapshot.

A part's data lies in ``_parts/``, its bad samples in ``_quarantine/``, and its record, written last, in ``_commit/``:
what has no record is still to do. Bad samples that are tried again have files and a record of their own, numbered after
the part's. The snapshot is the files of ``_manifest.json``, which is replaced last of all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import runs, storage
from pipeline.errors import ConfigError
from pipeline.metrics.statistics import Sums
from pipeline.modalities.decode import METADATA_PREFIX
from pipeline.sample import ERROR, KEY, MODALITIES, ORDINAL, OUTCOME, PART, QUARANTINED, SHARD
from pipeline.shards.plan import Part
from pipeline.sinks import ParquetConfig
from pipeline.sinks.base import PartResult, ledger
from pipeline.sinks.quarantine import bad_ordinals, quarantine_rows, read_rows, write_rows
from pipeline.sinks.snapshot import (
    COMMIT,
    PARTS,
    Records,
    Snapshot,
    attempt_name,
    part_name,
    write_part,
)

IDENTITY = "_identity.json"
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
        measure: Sums up each part into its record; None where no statistics are wanted.
        attachments: File name -> content of what lies beside the identity.
    """

    output: str
    config: ParquetConfig
    identity: Mapping[str, Any]
    footer: Mapping[str, str]
    columns: tuple[str, ...]
    order: tuple[str, ...] = (KEY, ORDINAL)
    measure: Callable[[pa.Table], Sums] | None = None
    attachments: Mapping[str, bytes] = field(default_factory=dict)

    def begin(self) -> None:
        """See :class:`pipeline.sinks.base.Sink`."""
        self._check_identity()
        self._snapshot.clear_unpublished()

    def done(self, parts: Sequence[Part]) -> set[str]:
        """Parts that have a commit record, and rows, from one listing of the records and one of the parts' files.

        A job that was killed while it published may have left records of parts whose rows it had removed.
        """
        records = Records(self.output)
        attempts = records.attempts()
        found = {part.id for part in parts if part.id in attempts}
        held = {record["part"] for record in self._snapshot.manifest()["records"]}
        held |= {part_name(info.url) for info in storage.list_files(self._url(PARTS))}
        doubtful = {part: attempts[part] for part in found - held}
        gone = {part for part, record in records.read(doubtful).items() if record["written"]}
        return found - gone

    def recorded(self) -> list[Mapping[str, Any]]:
        """The records of the parts that readers see."""
        found: list[Mapping[str, Any]] = self._snapshot.manifest()["records"]
        return found

    def retries(self, parts: Sequence[Part]) -> list[Part]:
        """Of parts that are done, those that have bad samples, reduced to these."""
        records = Records(self.output)
        attempts = records.attempts()
        done = [part for part in parts if part.id in attempts]
        found = records.read({part.id: attempts[part.id] for part in done})
        again = []
        for part in done:
            record = found[part.id]
            if record["quarantined"]:
                retry = attempts[part.id]
                ordinals = bad_ordinals(read_rows(self.output, attempt_name(part.id, retry)))
                again.append(replace(part, only=ordinals, retry=retry + 1, num_samples=None))
        return again

    def write(self, table: pa.Table) -> PartResult:
        """Writes quarantine, data, then the record of one part, or of its bad samples that were tried again."""
        result = ledger(table)
        part = Part.from_json(table[PART][0].as_py())
        name = attempt_name(part.id, part.retry)
        bad = quarantine_rows(table)
        total = result = replace(result, retry=part.retry)
        if part.retry:
            total, bad = self._with_earlier(part, result, bad)
        if bad.num_rows:
            write_rows(self.output, name, bad)
        if self.measure:
            measured = self.measure(table)
            result, total = (replace(each, statistics=measured) for each in (result, total))
        if result.written:
            # A copy of all pixels, so only where there is something to leave out.
            all_good = table[ERROR].null_count == table.num_rows
            rows = self._data_rows(table if all_good else table.filter(table[ERROR].is_null()))
            write_part(self._url(PARTS, f"{name}.parquet"), [rows], self.config)
        with storage.create(self._url(COMMIT, f"{name}.json"), replace=False) as file:
            file.write(json.dumps(asdict(total)).encode())
        return result

    def _with_earlier(
        self, part: Part, result: PartResult, bad: pa.Table
    ) -> tuple[PartResult, pa.Table]:
        """The ledger and the quarantine of the whole part, now that its bad samples have been tried again."""
        before = Records(self.output).read({part.id: part.retry - 1})[part.id]
        rows = read_rows(self.output, attempt_name(part.id, part.retry - 1))
        again = pc.and_(
            pc.equal(rows[OUTCOME], QUARANTINED),
            pc.is_in(rows[ORDINAL], value_set=pa.array(part.only, pa.int64())),
        )
        again = pc.and_(again, rows[KEY].is_valid())
        bad = pa.concat_tables([rows.filter(pc.invert(again)), bad]).sort_by(
            [(ORDINAL, "ascending")]
        )
        reasons = bad["reason"].value_counts().to_pylist()
        total = replace(
            result,
            written=before["written"] + result.written,
            filtered=before["filtered"] + result.filtered,
            damages=before["damages"],
            reasons={row["values"]: row["counts"] for row in reasons},
        )
        return total, bad

    def commit(
        self, parts: Sequence[Part], keep: Sequence[str] = (), pending: Sequence[str] = ()
    ) -> None:
        """Publishes the parts that have a record; see :class:`pipeline.sinks.snapshot.Snapshot`."""
        self._snapshot.publish([*(part.id for part in parts), *keep], pending)

    def recorded_statistics(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """The sums in the records of parts, read as they are asked for."""
        if self.measure is None:
            return
        records = Records(self.output)
        for start in range(0, len(ids), RECORDS_AT_A_TIME):
            found = records.read(dict.fromkeys(ids[start : start + RECORDS_AT_A_TIME], 0))
            for record in found.values():
                yield record["statistics"]

    @property
    def _snapshot(self) -> Snapshot:
        return Snapshot(self.output, self.config, runs.fingerprint(dict(self.identity)), self.order)

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

    def _data_rows(self, good: pa.Table) -> pa.Table:
        good = good.sort_by([(name, "ascending") for name in self.order])
        metadata = [name for name in good.column_names if name.startswith(METADATA_PREFIX)]
        picked = good.select([KEY, SHARD, MODALITIES, *self.columns, *metadata])
        names = [name.removeprefix(METADATA_PREFIX) for name in picked.column_names]
        return picked.rename_columns(names).replace_schema_metadata(dict(self.footer))

    def _url(self, *names: str) -> str:
        return storage.join(self.output, *names)


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
