"""What nights of generated texts are compared by; torch-free."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.columns import Sums

NUM_BINS = 16  # of lengths, each twice as wide as the one before; longer texts are in the last
WRITTEN, EMPTY, NONE = "written", "empty", "none"


def summary(rows: pa.Table, column: str) -> Sums:
    """How many rows have a text of how many characters, and how many an empty text, or none.

    Args:
        rows: Good rows.
        column: The texts.
    """
    lengths = pc.utf8_length(rows[column]).drop_null().to_pylist()
    bins = [0] * NUM_BINS
    for length in lengths:
        bins[min(length.bit_length(), NUM_BINS - 1)] += 1
    counts = {
        WRITTEN: len(lengths) - bins[0],
        EMPTY: bins[0],
        NONE: rows.num_rows - len(lengths),
    }
    return {"characters": bins, "texts": {name: count for name, count in counts.items() if count}}
