"""Mean and deviation of the training set's values, which encoders standardise by."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.modalities.codecs import dense_column
from pipeline.modalities.moments import Moments, RunningMoments

# Rows that are added at a time: in float64 they take twice the memory of the column.
BLOCK_ROWS = 256


class VectorStatistics:
    """Collects the moments of each feature, or of each channel over all steps; missing values do not count.

    Args:
        shape: (L,) or (T, C), of a vector.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._moments = RunningMoments(shape[-1])

    def add(self, column: pa.Array) -> None:
        """Adds a column of decoded values."""
        for start in range(0, len(column), BLOCK_ROWS):
            dense = dense_column(column.slice(start, BLOCK_ROWS), self.shape)
            rows = dense.values[dense.present].reshape(-1, self.shape[-1]).astype(np.float64)
            self._moments.add(rows, np.isfinite(rows))

    def result(self) -> Moments:
        """What was found."""
        return self._moments.result()
