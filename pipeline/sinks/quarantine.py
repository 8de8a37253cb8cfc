"""The quarantine of an output folder: one Parquet file for each part that has bad samples."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.sample import ERROR, ERROR_TYPE, KEY, ORDINAL, QUARANTINE_SCHEMA, SHARD
from pipeline.sinks.base import PartResult, ledger

QUARANTINE = "_quarantine"


def write_quarantine(output: str, table: pa.Table) -> PartResult:
    """Writes the bad rows of one part, if it has any.

    Args:
        output: The folder that has the quarantine.
        table: All rows of the part.

    Returns:
        The part's ledger.
    """
    result = ledger(table)
    if result.quarantined or result.damages:
        bad = table.filter(table[ERROR].is_valid())
        error = pa.concat_arrays(bad[ERROR].chunks)
        columns = [bad[KEY], bad[SHARD], bad[ORDINAL]]
        columns += [pc.struct_field(error, name) for name in ERROR_TYPE.names]
        rows = pa.Table.from_arrays(columns, schema=QUARANTINE_SCHEMA)
        write_rows(output, result.part, rows)
    return result


def set_bad_aside(table: pa.Table, output: str) -> pa.Table:
    """Writes a part's bad rows to the quarantine, and passes the good ones on.

    It stands here and not beside the training, since decode workers that load it would load torch with that.
    """
    write_quarantine(output, table)
    if table[ERROR].null_count == table.num_rows:
        return table  # a filter would copy what may be mapped from a cache
    return table.filter(table[ERROR].is_null())


def write_rows(output: str, name: str, rows: pa.Table) -> None:
    """Writes one file of the quarantine, replacing one of the same name.

    Args:
        output: The folder that has the quarantine.
        name: Of the file, without its suffix.
        rows: Bad samples, in ``QUARANTINE_SCHEMA``.
    """
    with storage.create(storage.join(output, QUARANTINE, f"{name}.parquet")) as file:
        pq.write_table(rows, file, compression="zstd")


def read_quarantine(output: str) -> pa.Table:
    """All bad samples of an output folder, empty where there are none."""
    tables = [
        pq.read_table(pa.BufferReader(storage.read_bytes(info.url)))
        for info in storage.list_files(storage.join(output, QUARANTINE))
    ]
    return pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), *tables])


def clear_quarantine(output: str, keep: frozenset[str] = frozenset()) -> None:
    """Removes the quarantine of an earlier job, except the files named in ``keep``."""
    for info in storage.list_files(storage.join(output, QUARANTINE)):
        if info.url.rpartition("/")[2] not in keep:
            storage.remove(info.url)
