"""The ledger of a part: what became of its samples, counted from its rows and held against what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RunError
from pipeline.metrics.columns import Sums
from pipeline.sample import (
    DROPPED,
    ERROR,
    FILTERS,
    KEY,
    ORDINAL,
    PART,
    PART_ROWS,
    PART_SAMPLES,
    PART_STRAYS,
    REMARKS,
    SHARD,
)
from pipeline.shards.planning.plan import Part


@dataclass(frozen=True, slots=True)
class PartResult:
    """The ledger of one part.

    Attributes:
        part: Identity of the part.
        shard: Its shard.
        read: Samples that the reader counted in the shard, whatever rows came of them.
        written: Samples in the output.
        quarantined: Samples in the quarantine.
        damages: Damages of the shard itself.
        filtered: Samples that a filter left out.
        noted: Of those in the output, samples with something odd about them.
        strays: Members of the shard that belong to no sample, and were passed over.
        reasons: Reason -> how many samples, fields and damages have it.
        settings: Reason -> the settings that would let them through, where there are any.
        retry: How often the part's bad samples have been tried again.
        statistics: The part's sums (:mod:`pipeline.metrics.statistics`), where the sink measures.
    """

    part: str
    shard: str
    read: int
    written: int
    quarantined: int
    damages: int
    filtered: int = 0
    noted: int = 0
    strays: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    retry: int = 0
    statistics: Sums | None = None

    def check(self) -> None:
        """Holds what became of the samples against what was read.

        Raises:
            RunError: It does not add up, which is a bug.
        """
        accounted = self.written + self.quarantined + self.filtered
        if self.read != accounted:
            raise RunError(
                f"{self.read} samples of a part were read, and {accounted} accounted for",
                where=f"shard={self.shard} part={self.part}",
                fix="this is a bug: report it with the log",
            )

    def values(self) -> dict[str, object]:
        """All fields by their names, ready for JSON; ``asdict`` would copy thousands of numbers one by one."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def ledger(table: pa.Table) -> PartResult:
    """Counts a part's rows, and asserts that they are those that the reader made.

    Raises:
        RunError: Rows were lost or doubled on the way, which is a bug.
    """
    parts, rows = table[PART].unique().to_pylist(), table[PART_ROWS].unique().to_pylist()
    if len(parts) != 1 or rows != [table.num_rows]:
        raise RunError(
            f"a block of {table.num_rows} rows should hold {rows} rows of one part, and holds {len(parts)} parts",
            where=str(table[SHARD][0]) if table.num_rows else "",
            fix="this is a bug: report it with the log",
        )
    part = Part.from_json(parts[0])
    where = f"shard={part.shard} offset={part.start}"
    num_damages = table[KEY].null_count
    read, strays = (_only_value(table, name) for name in (PART_SAMPLES, PART_STRAYS))
    if part.num_samples not in (None, read):
        raise RunError(
            f"planning found {part.num_samples} samples in a part, and reading {read}",
            where=where,
            fix="check that the shard is not being written; if it is not, this is a bug: report it with the log",
        )
    distinct = _num_distinct(table)
    if distinct != read:
        raise RunError(
            f"{read} samples of a part were read, and {distinct} come back",
            where=where,
            fix="this is a bug: report it with the log",
        )
    errors = Counter(_values("reason", table[ERROR]))
    fields = Counter(_values("reason", table[DROPPED], table[REMARKS]))
    all_errors = table[ERROR], table[DROPPED], table[REMARKS]
    num_filtered = sum(count for reason, count in errors.items() if reason in FILTERS)
    num_bad = table.num_rows - table[ERROR].null_count
    result = PartResult(
        part=part.id,
        shard=part.shard,
        read=read,
        written=table.num_rows - num_bad,
        quarantined=num_bad - num_damages - num_filtered,
        damages=num_damages,
        filtered=num_filtered,
        noted=pc.sum(pc.greater(pc.list_value_length(table[REMARKS]), 0)).as_py() or 0,
        strays=strays,
        reasons=dict(sorted((errors + fields).items())),
        settings=settings_by_reason(
            _values("reason", *all_errors), _values("setting", *all_errors)
        ),
    )
    result.check()
    return result


def _only_value(table: pa.Table, column: str) -> int:
    [value] = table[column].unique().to_pylist()
    return int(value)


def _num_distinct(table: pa.Table) -> int:
    """How many samples the rows are of: two rows of one are a sample too few, whatever their number."""
    samples = table.select([SHARD, ORDINAL]).filter(table[KEY].is_valid())
    return int(samples.group_by([SHARD, ORDINAL], use_threads=False).aggregate([]).num_rows)


def settings_by_reason(
    reasons: Iterable[str], settings: Iterable[str | None]
) -> dict[str, list[str]]:
    """Reason -> the settings that would let through what it stands for.

    Args:
        reasons: Of each row.
        settings: Of each row, None where there is none.
    """
    names_by_reason: dict[str, set[str]] = {}
    for reason, setting in zip(reasons, settings, strict=True):
        if setting:
            names_by_reason.setdefault(reason, set()).add(setting)
    return {reason: sorted(names) for reason, names in sorted(names_by_reason.items())}


def _values(name: str, *columns: pa.ChunkedArray) -> Iterator[Any]:
    """One of the values of each error in columns of errors, or of lists of them."""
    for column in columns:
        for chunk in column.chunks:
            errors = chunk.flatten() if pa.types.is_list(chunk.type) else chunk.drop_null()
            yield from pc.struct_field(errors, name).to_pylist()
