"""Bad samples of a part that were tried again: what the part has now, of both attempts."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SinkError
from pipeline.sample import KEY, ORDINAL, OUTCOME, QUARANTINED
from pipeline.sinks.ledger import PartResult, settings_by_reason
from pipeline.sinks.records import Record


def with_earlier(
    table: pa.Table, result: PartResult, bad: pa.Table, before: Record, rows: pa.Table
) -> tuple[PartResult, pa.Table]:
    """The ledger and the quarantine of a whole part, now that its bad samples have been tried again.

    Args:
        table: The rows of those samples.
        result: The ledger of these.
        bad: The rows of these that are bad still.
        before: The record of the part.
        rows: Its rows in the quarantine.

    Raises:
        SinkError: Others were tried than those in the quarantine.
    """
    again = pc.and_(pc.equal(rows[OUTCOME], QUARANTINED), rows[KEY].is_valid())
    if _names(table) != _names(rows.filter(again)):
        raise SinkError(
            "the samples that were tried again are not those in the quarantine: an earlier version counted otherwise",
            where=f"shard={result.shard} part={result.part}",
            fix="leave out infer.retry_quarantined, or run the job into another output folder",
        )
    bad = pa.concat_tables([rows.filter(pc.invert(again)), bad]).sort_by([(ORDINAL, "ascending")])
    reasons = bad["reason"].value_counts().to_pylist()
    earlier = before.result
    total = replace(
        result,
        read=earlier.read,
        written=earlier.written + result.written,
        filtered=earlier.filtered + result.filtered,
        noted=earlier.noted + result.noted,
        damages=earlier.damages,
        strays=earlier.strays,
        reasons={row["values"]: row["counts"] for row in reasons},
        settings=settings_by_reason(bad["reason"].to_pylist(), bad["setting"].to_pylist()),
    )
    total.check()
    return total, bad


def _names(rows: pa.Table) -> list[tuple[int, str]]:
    """Ordinals and keys of samples."""
    return sorted(zip(rows[ORDINAL].to_pylist(), rows[KEY].to_pylist(), strict=True))
