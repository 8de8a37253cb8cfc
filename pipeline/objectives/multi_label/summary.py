"""What nights of a multi-label classifier are compared by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.columns import Sums
from pipeline.objectives.multi_label.rows import PREDICTION, SCORE

SCORE_BINS = 10


def summary(rows: pa.Table) -> Sums:
    """How many rows have which label among their predictions, and which score, in ten bins from 0 to 1."""
    labels = pc.list_flatten(rows[PREDICTION]).to_pylist()
    bins = np.histogram(rows[SCORE].to_numpy(), SCORE_BINS, (0.0, 1.0))[0]
    return {PREDICTION: dict(Counter(labels)), SCORE: bins.tolist()}
