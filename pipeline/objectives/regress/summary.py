"""What nights of estimated numbers are compared by."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.objectives.regress.numbers import Scale
from pipeline.objectives.regress.rows import PREDICTION, values

BINS = 10
DEVIATIONS = 2.5  # of the training set, to each side of its mean, that the bins cover; the outer ones take the rest


def summary(rows: pa.Table, scale: Scale) -> Sums:
    """How many rows have which prediction, in ten bins about the training set's mean; one histogram a number."""
    standard = (values(rows[PREDICTION]) - scale.mean) / scale.deviation
    standard = np.clip(standard, -DEVIATIONS, DEVIATIONS)
    names = [PREDICTION] if len(scale.mean) == 1 else None
    return {
        names[0] if names else f"{PREDICTION}_{k}": np.histogram(
            standard[:, k], BINS, (-DEVIATIONS, DEVIATIONS)
        )[0].tolist()
        for k in range(standard.shape[1])
    }
