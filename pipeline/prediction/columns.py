"""The columns of a block: modalities go, predictions come; rows with an error keep nulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pipeline.sample import ERROR


def with_columns(
    table: pa.Table, codecs: Mapping[str, object], fields: list[pa.Field], good: pa.Table | None
) -> pa.Table:
    """Puts predictions in the place of the modalities.

    Args:
        table: A block.
        codecs: Modality -> codec; their columns go.
        fields: The columns that come.
        good: Their values in the rows without an error; None where there is no such row.
    """
    rows = np.flatnonzero(good_rows(table))
    table = table.drop_columns(list(codecs))
    places = np.zeros(table.num_rows, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    absent = np.ones(table.num_rows, dtype=bool)
    absent[rows] = False
    order = pa.array(places, mask=absent)
    for field in fields:
        column = (
            pa.nulls(table.num_rows, field.type)
            if good is None
            else good[field.name].combine_chunks().take(order)
        )
        table = table.append_column(field, column)
    return table


def good_rows(table: pa.Table) -> np.ndarray:
    """(B,) bool, the rows without an error."""
    good: np.ndarray = ~table[ERROR].is_valid().to_numpy()
    return good
