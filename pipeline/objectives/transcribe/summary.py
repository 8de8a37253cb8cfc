"""What nights of transcripts are compared by."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.columns import Sums
from pipeline.objectives.transcribe.rows import TOKENS, TRANSCRIPT

# Ends of the bins of characters: the last one takes what is longer.
LENGTHS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)


def summary(rows: pa.Table) -> Sums:
    """How long transcripts are, in bins; how many are empty; and how much of the time their symbols take, in tenths."""
    lengths = pc.utf8_length(rows[TRANSCRIPT]).to_numpy().astype(np.int64)
    bins = np.searchsorted(LENGTHS, lengths, side="right") - 1
    empty = int((lengths == 0).sum())
    return {
        "transcript_length": np.bincount(bins, minlength=len(LENGTHS)).tolist(),
        "transcript_is_empty": {"empty": empty, "not empty": len(lengths) - empty},
        "token_milliseconds": _durations(rows[TOKENS]),
    }


def _durations(tokens: pa.ChunkedArray) -> list[int]:
    """How many tokens last up to 50 ms, 100 ms and so on; the tenth bin takes what lasts longer."""
    spoken = pc.list_flatten(tokens)
    durations = pc.subtract(pc.struct_field(spoken, "end"), pc.struct_field(spoken, "start"))
    bins = np.minimum(durations.to_numpy() // 0.05, 9).astype(np.int64)
    counts: list[int] = np.bincount(bins, minlength=10).tolist()
    return counts
