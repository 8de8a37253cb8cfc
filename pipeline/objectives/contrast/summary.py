"""What nights of a shared space are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.objectives.contrast.rows import column, vectors

BINS = 20


def summary(rows: pa.Table, modalities: Sequence[str]) -> Sums:
    """How similar a sample's modalities are to each other: a histogram from -1 to 1 a pair, of those that have both."""
    embeddings = {name: vectors(rows[column(name)]) for name in modalities}
    sums = {}
    for first, second in combinations(modalities, 2):
        (left, has_left), (right, has_right) = embeddings[first], embeddings[second]
        both = has_left & has_right
        similar = (left[both] * right[both]).sum(axis=1).clip(-1.0, 1.0)
        sums[f"similarity_{first}_{second}"] = np.histogram(similar, BINS, (-1.0, 1.0))[0].tolist()
    return sums
