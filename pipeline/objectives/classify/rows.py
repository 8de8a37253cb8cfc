"""The columns of a classifier's predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.objectives.base import EMBEDDING, Arrays
from pipeline.objectives.columns import fixed_lists

PREDICTION, SCORE, PROBABILITIES = "prediction", "score", "probabilities"
TEMPERATURE = "temperature"  # among what was learned
CALIBRATION_ERROR = "expected_calibration_error"
UNSCALED = "_unscaled"  # behind the name of a number without temperature scaling


def schema(num_classes: int, width: int) -> list[pa.Field]:
    """The columns, in order."""
    return [
        pa.field(PREDICTION, pa.string()),
        pa.field(SCORE, pa.float32()),
        pa.field(PROBABILITIES, pa.list_(pa.float32(), num_classes)),
        pa.field(EMBEDDING, pa.list_(pa.float32(), width)),
    ]


def table(arrays: Arrays, classes: Sequence[str]) -> pa.Table:
    """The columns of B samples.

    Args:
        arrays: ``probabilities`` (B, K) and ``embedding`` (B, D), float32.
        classes: The K names.
    """
    probabilities = arrays[PROBABILITIES]
    best = probabilities.argmax(axis=1)
    columns = [
        pa.array([classes[index] for index in best], pa.string()),
        pa.array(probabilities[np.arange(len(best)), best], pa.float32()),
        fixed_lists(probabilities),
        fixed_lists(arrays[EMBEDDING]),
    ]
    fields = schema(len(classes), arrays[EMBEDDING].shape[1])
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def footer(classes: Sequence[str]) -> dict[str, str]:
    """What the footer of a Parquet file of predictions says."""
    return {"classes": json.dumps(list(classes), ensure_ascii=False)}
