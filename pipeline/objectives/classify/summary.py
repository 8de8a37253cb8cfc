"""What nights of a classifier are compared by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.objectives.classify.rows import PREDICTION, SCORE

SCORE_BINS = 10


def summary(rows: pa.Table) -> Sums:
    """How many rows have which prediction, and which score, in ten bins from 0 to 1."""
    bins = np.histogram(rows[SCORE].to_numpy(), SCORE_BINS, (0.0, 1.0))[0]
    return {PREDICTION: dict(Counter(rows[PREDICTION].to_pylist())), SCORE: bins.tolist()}
