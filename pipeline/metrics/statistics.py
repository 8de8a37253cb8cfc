"""Statistics of decoded samples: exact sums of each part, which add up to the same numbers in any order.

What is measured of a column is its modality's affair (:mod:`pipeline.metrics.columns`). All sums are whole numbers, so
that adding them is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.columns import ColumnMeasure, Sums, counted
from pipeline.sample import ERROR, LABEL, MODALITIES

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures one part; picklable, called on the workers.

    Attributes:
        columns: Modality -> what is measured of its column; None counts only how many values there are.
        labelled: Whether labels are counted.
    """

    columns: Mapping[str, ColumnMeasure | None]
    labelled: bool = False

    def __call__(self, table: pa.Table) -> Sums:
        """The sums of a part.

        Args:
            table: All rows of the part, good and bad, as the decoder made them.

        Returns:
            What :func:`add_sums` adds and :func:`statistics` reads.
        """
        reasons = pc.struct_field(table[ERROR].combine_chunks(), "reason").drop_null()
        good = table.select([MODALITIES, LABEL]).filter(table[ERROR].is_null())
        names = ("+".join(present) for present in good[MODALITIES].to_pylist())
        sums: Sums = {
            "samples": good.num_rows,
            "quarantine": counted(reasons.to_pylist()),
            "combinations": counted(names),
            "modalities": {
                name: _sums(measure, table[name], table.field(name))
                for name, measure in self.columns.items()
            },
        }
        if self.labelled:
            labels = good[LABEL]
            sums["labels"] = counted(labels.drop_null().to_pylist())
            sums["unlabelled"] = labels.null_count
        return sums


def add_sums(left: Mapping[str, object], right: Mapping[str, object]) -> Sums:
    """Adds the sums of two sets of parts; the order never matters."""
    return {
        name: _added(left[name], right[name])
        if name in left and name in right
        else left.get(name, right.get(name))
        for name in {**left, **right}
    }


def statistics(
    sums: Mapping[str, Any], schema: pa.Schema, columns: Mapping[str, ColumnMeasure | None]
) -> dict[str, Any]:
    """What the sums of all parts say, ready for JSON, its keys in order.

    Args:
        sums: Of all parts; ``{}`` where there is none.
        schema: Of the decoded table.
        columns: As of :class:`Measure`.
    """
    measured = sums.get("modalities", {})
    samples = sums.get("samples", 0)
    described: dict[str, Any] = {
        "version": FORMAT,
        "samples": samples,
        "quarantined": _by_count(sums.get("quarantine", {})),
        "combinations": _by_count(sums.get("combinations", {})),
        "modalities": {
            name: _column_statistics(columns[name], measured[name], schema.field(name), samples)
            for name in sorted(measured)
        },
    }
    if "labels" in sums:
        described["labels"] = {
            "labelled": sum(sums["labels"].values()),
            "unlabelled": sums["unlabelled"],
            "counts": _by_count(sums["labels"]),
        }
    return described


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first, equals by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, dict):
        return add_sums(left, right)
    if isinstance(left, list):
        return [a + b for a, b in zip(left, right, strict=True)]
    return left + right


def _sums(measure: ColumnMeasure | None, column: pa.ChunkedArray, field: pa.Field) -> Sums:
    sums = {} if measure is None else measure.sums(column, field)
    return {"present": len(column) - column.null_count, **sums}


def _column_statistics(
    measure: ColumnMeasure | None, sums: Sums, field: pa.Field, samples: int
) -> dict[str, Any]:
    present = sums["present"]
    values = {} if measure is None else measure.statistics(sums, field)
    return {"present": present, "missing": samples - present, **values}
