"""The quarantine of an output folder: one Parquet file for each part that has bad samples."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import SampleError
from pipeline.sample import (
    DROPPED,
    ERROR,
    ERROR_TYPE,
    FIELD_DROPPED,
    FILTERED,
    FILTERS,
    KEY,
    NOTED,
    NOTES,
    ORDINAL,
    OUTCOME,
    QUARANTINE_SCHEMA,
    QUARANTINED,
    REMARKS,
    SHARD,
    Fault,
    Source,
)
from pipeline.sinks.folder import QUARANTINE
from pipeline.sinks.ledger import PartResult, ledger
from pipeline.sinks.snapshots.manifest import read_manifest


def write_quarantine(output: str, table: pa.Table) -> PartResult:
    """Writes the bad rows of one part, if it has any.

    Args:
        output: The folder that has the quarantine.
        table: All rows of the part.

    Returns:
        The part's ledger.
    """
    result = ledger(table)
    if result.reasons:
        write_rows(output, result.part, quarantine_rows(table))
    return result


def quarantine_rows(table: pa.Table) -> pa.Table:
    """A row for every bad or filtered sample, every damage, every field that a sample is kept without or has odd.

    Args:
        table: All rows of a part.
    """
    bad = table.filter(table[ERROR].is_valid())
    error = bad[ERROR].combine_chunks()
    filtered = pc.is_in(
        pc.struct_field(error, "reason"), value_set=pa.array(list(FILTERS), pa.string())
    )
    outcome = pc.if_else(filtered, FILTERED, QUARANTINED)
    return pa.concat_tables(
        [
            _rows(bad, error, outcome),
            _rows_of_lists(table, DROPPED, FIELD_DROPPED),
            _rows_of_lists(table, REMARKS, NOTED),
        ]
    )


def _rows_of_lists(table: pa.Table, column: str, outcome: str) -> pa.Table:
    """A row for every item of a column of lists."""
    lists = table[column].combine_chunks()
    samples = table.select([KEY, SHARD, ORDINAL]).take(pc.list_parent_indices(lists))
    return _rows(samples, lists.flatten(), pa.repeat(pa.scalar(outcome), samples.num_rows))


def _rows(table: pa.Table, errors: pa.StructArray, outcome: pa.Array) -> pa.Table:
    columns = [table[KEY], table[SHARD], table[ORDINAL]]
    columns += [pc.struct_field(errors, name) for name in ERROR_TYPE.names]
    return pa.Table.from_arrays([*columns, outcome], schema=QUARANTINE_SCHEMA)


def judged(table: pa.Table, errors: Mapping[int, SampleError]) -> pa.Table:
    """A part's rows with what was found of good ones: they are refused, or noted where the reason is one of ``NOTES``.

    Args:
        table: All rows of the part.
        errors: Row -> what is wrong or odd.
    """
    if not errors:
        return table
    refused, remarks = table[ERROR].to_pylist(), table[REMARKS].to_pylist()
    for row, error in errors.items():
        where = Source(table[SHARD][row].as_py(), table[KEY][row].as_py(), error.field or None)
        ordinal = table[ORDINAL][row].as_py()
        fault = Fault(where, ordinal, error.reason, error.what, error.setting).to_row()
        if error.reason in NOTES:
            remarks[row] = [*remarks[row], fault]
        elif refused[row] is None:
            refused[row] = fault
    for name, values in ((ERROR, refused), (REMARKS, remarks)):
        column = table.schema.get_field_index(name)
        table = table.set_column(
            column, table.field(column), pa.array(values, table.field(column).type)
        )
    return table


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


def bad_ordinals(rows: pa.Table) -> tuple[int, ...]:
    """Ordinals of the samples that were left out because they are bad, ascending."""
    bad = rows.filter(pc.and_(pc.equal(rows[OUTCOME], QUARANTINED), rows[KEY].is_valid()))
    return tuple(sorted(bad[ORDINAL].to_pylist()))


def num_noted(rows: pa.Table) -> int:
    """How many samples were noted; one may have a row for each of several fields."""
    noted = rows.filter(pc.equal(rows[OUTCOME], NOTED))
    return int(noted.group_by([SHARD, ORDINAL]).aggregate([]).num_rows)


def read_quarantine(output: str) -> pa.Table:
    """All bad samples of an output folder, those of its snapshot where it has one; empty where there are none."""
    manifest = read_manifest(output)
    if manifest is None:
        urls = [info.url for info in storage.list_files(storage.join(output, QUARANTINE))]
    else:
        urls = [storage.join(output, name) for name in manifest.quarantine]
    tables = [as_quarantine(pq.read_table(pa.BufferReader(storage.read_bytes(u)))) for u in urls]
    return pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), *tables])


def as_quarantine(rows: pa.Table) -> pa.Table:
    """Rows in ``QUARANTINE_SCHEMA``: those of an earlier version may lack a column, which is then null."""
    columns = pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), rows], promote_options="default")
    return columns.select(QUARANTINE_SCHEMA.names)


def clear_quarantine(output: str) -> None:
    """Removes the quarantine of an earlier job."""
    storage.remove_all([info.url for info in storage.list_files(storage.join(output, QUARANTINE))])
