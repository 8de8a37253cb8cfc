"""The columns of a multi-label classifier's predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.objectives.base import EMBEDDING, Arrays
from pipeline.objectives.columns import fixed_lists
from pipeline.objectives.multi_label.labels import labels_of

PREDICTION, SCORE, PROBABILITIES = "prediction", "score", "probabilities"


def schema(num_classes: int, width: int) -> list[pa.Field]:
    """The columns, in order."""
    return [
        pa.field(PREDICTION, pa.list_(pa.string())),
        pa.field(SCORE, pa.float32()),
        pa.field(PROBABILITIES, pa.list_(pa.float32(), num_classes)),
        pa.field(EMBEDDING, pa.list_(pa.float32(), width)),
    ]


def table(arrays: Arrays, classes: Sequence[str], thresholds: Sequence[float]) -> pa.Table:
    """The columns of B samples.

    ``prediction`` holds the classes whose probability reaches their threshold, in the order of the classes, and may be
    empty; ``score`` is the highest of the K probabilities, whether that class is predicted or not.

    Args:
        arrays: ``probabilities`` (B, K) and ``embedding`` (B, D), float32.
        classes: The K names.
        thresholds: The K probabilities from which on a class is predicted.
    """
    probabilities = arrays[PROBABILITIES]
    samples, predicted = np.nonzero(probabilities >= np.asarray(thresholds, np.float64))
    offsets = np.searchsorted(samples, np.arange(len(probabilities) + 1)).astype(np.int32)
    names = pa.array(list(classes), pa.string()).take(pa.array(predicted))
    columns = [
        pa.ListArray.from_arrays(pa.array(offsets), names),
        pa.array(probabilities.max(axis=1), pa.float32()),
        fixed_lists(probabilities),
        fixed_lists(arrays[EMBEDDING]),
    ]
    fields = schema(len(classes), arrays[EMBEDDING].shape[1])
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def footer(classes: Sequence[str], thresholds: Sequence[float]) -> dict[str, str]:
    """What the footer of a Parquet file of predictions says."""
    return {
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "thresholds": json.dumps(list(thresholds)),
    }


def label_lists(texts: pa.Array) -> pa.Array:
    """Lists of labels (B,) for the texts of targets."""
    lists = [None if text is None else labels_of(text) for text in texts.to_pylist()]
    return pa.array(lists, pa.list_(pa.string()))
